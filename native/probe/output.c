/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "opts.h"
#include "stats.h"
#include "vmj_sched.h"

static struct probe_figure quantile(int64_t *values, uint64_t count, uint32_t permille)
{
	struct probe_figure figure = { probe_quantile_supported(count, permille), 0 };

	if (figure.known)
		figure.ns = probe_quantile(values, count, permille);
	return figure;
}

void probe_figures(const struct probe_run *run, struct probe_figures *f)
{
	const struct probe_loop *l = &run->loop;
	int64_t *values;

	memset(f, 0, sizeof(*f));
	f->count = l->k - l->overruns;
	if (f->count == 0)
		return;
	f->min = (struct probe_figure){ true, l->min_ns };
	f->max = (struct probe_figure){ true, l->max_ns };
	f->mean = (struct probe_figure){ true, l->sum_ns / (int64_t)f->count };
	if (!run->own_bytes)
		return;
	values = malloc((size_t)f->count * sizeof(*values));
	if (!values)
		return;
	probe_latencies(run->samples, l->k, values);
	f->p50 = quantile(values, f->count, PROBE_P50);
	f->p99 = quantile(values, f->count, PROBE_P99);
	f->p999 = quantile(values, f->count, PROBE_P999);
	free(values);
}

static void print_us(const char *name, struct probe_figure figure)
{
	if (figure.known)
		printf("  %s %.3f us", name, (double)figure.ns / 1e3);
	else
		printf("  %s -", name);
}

/* cyclictest's line, in microseconds. */
static void print_cyclictest_line(const struct probe_run *run, const struct probe_figures *f)
{
	printf("T: 0 (%5" PRId32 ") P:%2" PRId32 " I:%" PRIu64 " C:%7" PRIu64 " Min:%7" PRId64
	       " Act:%5" PRId64 " Avg:%5" PRId64 " Max:%8" PRId64 "\n",
	       run->result.pid, run->result.priority, run->result.period_ns / 1000, f->count,
	       f->min.ns / 1000, run->loop.last_ns / 1000, f->mean.ns / 1000, f->max.ns / 1000);
}

static void print_proofs(const struct vmj_probe_result *r)
{
	printf("proofs   policy %s:%" PRId32 ", CPUs 0x%" PRIx64 ", memory %s\n",
	       vmj_policy_name(r->policy), r->priority, r->affinity,
	       r->mlocked ? "locked" : "not locked");
	printf("         page faults %" PRIu64 " minor, %" PRIu64 " major; switches %" PRIu64
	       " voluntary, %" PRIu64 " involuntary\n",
	       r->minflt, r->majflt, r->nvcsw, r->nivcsw);
	printf("         clocksource %s, resolution %" PRIu64 " ns, a reading costs %" PRIu64 " ns\n",
	       r->clocksource_before[0] ? r->clocksource_before : "unknown", r->clock_res_ns,
	       r->clock_cost_ns);
}

void probe_print_text(const struct probe_run *run, const struct probe_figures *f)
{
	print_cyclictest_line(run, f);
	fputs("latency", stdout);
	print_us("min", f->min);
	print_us("p50", f->p50);
	print_us("p99", f->p99);
	print_us("p99.9", f->p999);
	print_us("max", f->max);
	printf("\noverruns %" PRIu64 " of %" PRIu64 " activations\n", run->loop.overruns, run->loop.k);
	print_proofs(&run->result);
	if (run->loop.broke)
		printf("ended    latency above %.3f us\n", (double)run->options->break_ns / 1e3);
	else if (run->loop.k < run->loop.limit)
		puts("ended    early, on request");
	for (uint32_t i = 0; i < run->warning_count; i++)
		printf("warning: %s\n", run->warnings[i]);
}

static void json_figure(const char *name, struct probe_figure figure)
{
	if (figure.known)
		printf(", \"%s\": %" PRId64, name, figure.ns);
	else
		printf(", \"%s\": null", name);
}

static void json_u64(const char *name, uint64_t value)
{
	printf(", \"%s\": %" PRIu64, name, value);
}

static void json_text(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	vmj_print_json_string(value);
}

static void json_scheduling(const struct vmj_probe_result *r)
{
	json_text("policy", vmj_policy_name(r->policy));
	printf(", \"priority\": %" PRId32, r->priority);
	json_text("policy_after", vmj_policy_name(r->policy_after));
	printf(", \"priority_after\": %" PRId32, r->priority_after);
	json_u64("affinity", r->affinity);
	json_u64("affinity_after", r->affinity_after);
	printf(", \"mlocked\": %s", r->mlocked ? "true" : "false");
	json_u64("minflt", r->minflt);
	json_u64("majflt", r->majflt);
	json_u64("nvcsw", r->nvcsw);
	json_u64("nivcsw", r->nivcsw);
}

static void json_clock(const struct vmj_probe_result *r)
{
	json_text("clocksource_before", r->clocksource_before);
	json_text("clocksource_after", r->clocksource_after);
	json_u64("clock_cost_ns", r->clock_cost_ns);
	json_u64("clock_res_ns", r->clock_res_ns);
	json_u64("start_ns", r->start_ns);
	json_u64("end_ns", r->end_ns);
	json_u64("tsc0", r->tsc0);
	json_u64("tsc1", r->tsc1);
	json_u64("tsc_hz", r->tsc_hz);
}

static void json_warnings(const struct probe_run *run)
{
	fputs(", \"warnings\": [", stdout);
	for (uint32_t i = 0; i < run->warning_count; i++) {
		fputs(i ? ", " : "", stdout);
		vmj_print_json_string(run->warnings[i]);
	}
	fputs("]", stdout);
}

void probe_print_json(const struct probe_run *run, const struct probe_figures *f)
{
	const struct vmj_probe_result *r = &run->result;

	printf("{\"format\": 1, \"count\": %" PRIu64, f->count);
	json_figure("min_ns", f->min);
	json_figure("mean_ns", f->mean);
	json_figure("p50_ns", f->p50);
	json_figure("p99_ns", f->p99);
	json_figure("p999_ns", f->p999);
	json_figure("max_ns", f->max);
	json_u64("overruns", run->loop.overruns);
	json_u64("activations", run->loop.k);
	json_u64("loops", r->loops);
	json_u64("period_ns", r->period_ns);
	json_u64("t0_ns", r->t0_ns);
	printf(", \"pid\": %" PRId32, r->pid);
	printf(", \"threshold_hit\": %s", run->loop.broke ? "true" : "false");
	json_scheduling(r);
	json_clock(r);
	json_warnings(run);
	puts("}");
}

static int close_file(FILE *file)
{
	int failed = ferror(file);

	if (file == stdout)
		return failed ? -1 : 0;
	return fclose(file) != 0 || failed ? -1 : 0;
}

int probe_write_raw(const struct probe_run *run, const char *path)
{
	FILE *file = fopen(path, "wb");

	if (!file)
		return -1;
	fwrite(&run->stream, sizeof(run->stream), 1, file);
	fwrite(run->samples, sizeof(*run->samples), (size_t)run->loop.k, file);
	return close_file(file);
}

/* Index of the bucket of one record; buckets for all that overflow, -1 if it was missed.
 * A wake-up before its time counts as 0. */
static int64_t bucket_of(int64_t latency_ns, int64_t buckets)
{
	int64_t bucket = latency_ns < 0 ? 0 : latency_ns / 1000;

	if (latency_ns == VMJ_MISSED)
		return -1;
	return bucket < buckets ? bucket : buckets;
}

static void print_buckets(FILE *file, const uint64_t *counts, uint64_t buckets)
{
	fputs("# Histogram\n", file);
	for (uint64_t i = 0; i < buckets; i++)
		if (counts[i])
			fprintf(file, "%06" PRIu64 " %06" PRIu64 "\n", i, counts[i]);
}

static void print_histogram_end(FILE *file, const struct probe_run *run, uint64_t overflows)
{
	const struct probe_loop *l = &run->loop;
	uint64_t count = l->k - l->overruns;
	int64_t limit = (int64_t)run->options->histogram_us;
	uint64_t shown = 0;

	fprintf(file, "# Min Latencies: %05" PRId64 "\n", count ? l->min_ns / 1000 : 0);
	fprintf(file, "# Avg Latencies: %05" PRId64 "\n", count ? l->sum_ns / (int64_t)count / 1000 : 0);
	fprintf(file, "# Max Latencies: %05" PRId64 "\n", count ? l->max_ns / 1000 : 0);
	fprintf(file, "# Histogram Overflows: %05" PRIu64 "\n", overflows);
	fputs("# Histogram Overflow at cycle number:\n# Thread 0:", file);
	for (uint64_t k = 0; k < l->k && shown < (uint64_t)limit; k++) {
		if (bucket_of(run->samples[k].latency_ns, limit) == limit) {
			fprintf(file, " %05" PRIu64, k);
			shown++;
		}
	}
	if (shown < overflows)
		fprintf(file, " # %05" PRIu64 " others", overflows - shown);
	fputc('\n', file);
}

int probe_write_histogram(const struct probe_run *run, const char *path)
{
	uint64_t buckets = run->options->histogram_us;
	uint64_t *counts = calloc((size_t)buckets + 1, sizeof(*counts));
	FILE *file = counts ? (path ? fopen(path, "w") : stdout) : NULL;

	if (!file) {
		int error = counts ? errno : ENOMEM;

		free(counts);
		errno = error;
		return -1;
	}
	for (uint64_t k = 0; k < run->loop.k; k++) {
		int64_t bucket = bucket_of(run->samples[k].latency_ns, (int64_t)buckets);

		if (bucket >= 0)
			counts[bucket]++;
	}
	print_buckets(file, counts, buckets);
	print_histogram_end(file, run, counts[buckets]);
	free(counts);
	return close_file(file);
}
