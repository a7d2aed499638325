/* SPDX-License-Identifier: Apache-2.0
 * probe: how late a periodic program wakes up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"
#include "options.h"
#include "opts.h"
#include "output.h"
#include "run.h"
#include "vmj_sched.h"

#ifndef VMJ_VERSION
#define VMJ_VERSION "unknown"
#endif

static int complain(const char *path)
{
	fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
	return VMJ_EXIT_ERROR;
}

static void print_heading(const struct probe_options *o)
{
	fprintf(stderr, "probe: policy %s:%d, interval %" PRIu64 " ns, ", vmj_policy_name(o->policy),
		o->priority, o->interval_ns);
	if (o->loops)
		fprintf(stderr, "%" PRIu64 " activations, %.1f s\n", o->loops,
			(double)o->loops * (double)o->interval_ns / 1e9);
	else
		fputs("until stopped\n", stderr);
}

static int write_files(const struct probe_run *run)
{
	const struct probe_options *o = run->options;

	if (o->raw && probe_write_raw(run, o->raw) != 0)
		return complain(o->raw);
	if (o->histogram_us && probe_write_histogram(run, o->histfile) != 0)
		return complain(o->histfile ? o->histfile : "histogram");
	return VMJ_EXIT_OK;
}

static int report(const struct probe_run *run)
{
	struct probe_figures figures;
	int status = write_files(run);

	probe_figures(run, &figures);
	if (run->options->json)
		probe_print_json(run, &figures);
	else
		probe_print_text(run, &figures);
	if (fflush(stdout) != 0 && status == VMJ_EXIT_OK)
		status = complain("standard output");
	if (status == VMJ_EXIT_OK && run->loop.broke)
		status = VMJ_EXIT_THRESHOLD;
	return status;
}

static int measure(const struct probe_options *options)
{
	struct probe_run run;
	int status;

	if (!options->quiet && !options->json)
		print_heading(options);
	status = probe_run(&run, options);
	if (status == VMJ_EXIT_OK)
		status = report(&run);
	else
		fprintf(stderr, "probe: %s\n", run.result.message);
	probe_run_free(&run);
	return status;
}

int main(int argc, char **argv)
{
	struct probe_options options;
	int status = probe_parse_options(&options, argc, argv);

	if (status != 0)
		return status;
	switch (options.action) {
	case PROBE_HELP:
		probe_print_help();
		return VMJ_EXIT_OK;
	case PROBE_VERSION:
		puts("probe (vmjitter) " VMJ_VERSION);
		return VMJ_EXIT_OK;
	case PROBE_LAYOUT:
		probe_print_layout();
		return VMJ_EXIT_OK;
	case PROBE_MEASURE:
		break;
	}
	return measure(&options);
}
