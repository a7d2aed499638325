/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "opts.h"
#include "vmj_sched.h"

#ifndef RUSAGE_THREAD
#define RUSAGE_THREAD 1 /* getrusage(2), Linux 2.6.26 */
#endif

#define MOST_BYTES (UINT64_C(512) << 20)
#define PAGE_BYTES 4096u
/* From the end of the preparation to t0, at least: room for publishing the header on a
 * slow machine, even when two periods are short. */
#define LEAD_NS UINT64_C(10000000)

__attribute__((format(printf, 2, 3)))
static int fail(struct probe_run *run, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vsnprintf(run->result.message, sizeof(run->result.message), format, values);
	va_end(values);
	return -1;
}

__attribute__((format(printf, 2, 3)))
static void warn(struct probe_run *run, const char *format, ...)
{
	va_list values;

	if (run->warning_count == PROBE_MAX_WARNINGS)
		return;
	va_start(values, format);
	vsnprintf(run->warnings[run->warning_count++], sizeof(run->warnings[0]), format, values);
	va_end(values);
}

/* Copies the result block to shared memory, its state last. */
static void publish(struct probe_run *run, uint32_t state)
{
	struct vmj_probe_result *shared = run->loop.live;
	const size_t head = offsetof(struct vmj_probe_result, pid);

	run->result.state = state;
	if (!run->shm.base)
		return;
	vmj_shm_copy(&shared->pid, (const uint8_t *)&run->result + head,
		     sizeof(run->result) - head);
	vmj_store_release(&shared->state, state);
}

static int open_shared(struct probe_run *run)
{
	struct vmj_probe_result *shared;

	if (vmj_shm_map(&run->shm, run->options->shm, run->result.message,
			sizeof(run->result.message)) != 0)
		return -1;
	shared = vmj_shm_probe(&run->shm);
	run->samples = vmj_shm_ring(&run->shm);
	run->loop.mask = run->shm.ring_records - 1;
	run->loop.live = shared;
	run->loop.stop = &vmj_shm_control(&run->shm)->stop;
	shared->written = 0;
	shared->overruns = 0;
	publish(run, VMJ_RUN_STARTING);
	return 0;
}

static int open_own(struct probe_run *run)
{
	uint64_t bytes = run->options->loops * sizeof(struct vmj_sample);
	void *buffer;

	run->loop.mask = UINT64_MAX;
	run->loop.live = &run->result;
	run->loop.stop = &run->never_stop;
	if (run->options->loops > MOST_BYTES / sizeof(struct vmj_sample))
		return fail(run, "%" PRIu64 " activations need more than 512 MiB of memory; measure for a "
			    "shorter time, with a longer interval, or into a ring: --shm FILE",
			    run->options->loops);
	buffer = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return fail(run, "no memory for the samples: %s", strerror(errno));
	run->samples = buffer;
	run->own_bytes = (size_t)bytes;
	return 0;
}

/* Writes to every page, since a first write in the loop would be a page fault there. */
static void touch_samples(struct probe_run *run)
{
	uint64_t records = run->own_bytes ? run->options->loops : run->shm.ring_records;
	volatile struct vmj_sample *samples = run->samples;

	for (uint64_t i = 0; i < records; i += PAGE_BYTES / sizeof(*samples))
		samples[i].tsc = 0;
}

static int lock_memory(struct probe_run *run)
{
	int error = run->options->lock_memory ? vmj_lock_memory() : 0;

	run->result.mlocked = run->options->lock_memory && error == 0;
	if (error == 0)
		return 0;
	if (run->options->policy != SCHED_OTHER)
		return fail(run, "cannot lock memory: %s; run as root, raise 'ulimit -l', or use --no-mlockall",
			    strerror(error));
	warn(run, "memory is not locked: %s", strerror(error));
	return 0;
}

static int set_affinity(struct probe_run *run)
{
	int error = run->options->affinity ? vmj_set_affinity(run->options->affinity) : 0;

	return error ? fail(run, "cannot set affinity to CPUs 0x%" PRIx64 ": %s",
			    run->options->affinity, strerror(error)) : 0;
}

static int set_policy(struct probe_run *run)
{
	const struct probe_options *o = run->options;
	int error = vmj_set_policy(o->policy, o->priority);

	/* Timer slack delays wake-ups of threads that are not real-time by up to 50 us
	 * (prctl(2), PR_SET_TIMERSLACK). */
	if (o->policy == SCHED_OTHER)
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	if (!error)
		return 0;
	return fail(run, "cannot set policy %s, priority %d: %s; run as root, or allow it with "
		    "'setcap cap_sys_nice,cap_ipc_lock+ep probe' or 'ulimit -r %d', or measure "
		    "without real time: --policy other",
		    vmj_policy_name(o->policy), o->priority, strerror(error), o->priority);
}

/* Reads back what set_affinity and set_policy asked for. */
static int read_back(struct probe_run *run)
{
	const struct probe_options *o = run->options;
	struct vmj_sched now = { -1, -1, 0 };
	int error = vmj_get_sched(&now);

	run->result.policy = now.policy;
	run->result.priority = now.priority;
	run->result.affinity = now.affinity;
	if (error)
		return fail(run, "cannot read the scheduling policy back: %s", strerror(error));
	if (now.policy != o->policy || now.priority != o->priority)
		return fail(run, "asked for policy %s, priority %d, but have %s, %d",
			    vmj_policy_name(o->policy), o->priority, vmj_policy_name(now.policy),
			    now.priority);
	if (o->affinity && now.affinity != o->affinity)
		return fail(run, "asked for CPUs 0x%" PRIx64 ", but have 0x%" PRIx64, o->affinity,
			    now.affinity);
	return 0;
}

static void gather_facts(struct probe_run *run)
{
	struct vmj_probe_result *r = &run->result;

	r->clock_res_ns = vmj_clock_resolution_ns();
	r->clock_cost_ns = vmj_clock_cost_ns();
	vmj_clocksource(r->clocksource_before, sizeof(r->clocksource_before));
}

static int prepare(struct probe_run *run)
{
	touch_samples(run);
	if (lock_memory(run) != 0 || set_affinity(run) != 0)
		return -1;
	vmj_prefault_stack();
	gather_facts(run);
	probe_loop_catch_signals();
	if (set_policy(run) != 0)
		return -1;
	return read_back(run);
}

static void warm_up(struct probe_run *run)
{
	const struct probe_options *o = run->options;
	uint64_t count = (o->warm_up_ns + o->interval_ns - 1) / o->interval_ns;

	if (count)
		probe_loop_warm_up(vmj_ns_timespec(vmj_now_ns() + 2 * o->interval_ns),
				   vmj_ns_timespec(o->interval_ns), count);
}

/* t0: a whole microsecond, at least two periods and LEAD_NS ahead. */
static uint64_t choose_t0(uint64_t interval_ns)
{
	uint64_t lead_ns = 2 * interval_ns > LEAD_NS ? 2 * interval_ns : LEAD_NS;

	return (vmj_now_ns() + lead_ns + 999) / 1000 * 1000;
}

static void announce(struct probe_run *run)
{
	struct vmj_probe_result *r = &run->result;
	struct vmj_stream_header *s = &run->stream;
	struct vmj_stream_header *shared;

	r->t0_ns = choose_t0(r->period_ns);
	memcpy(s->magic, VMJ_STREAM_MAGIC, sizeof(s->magic));
	s->version = VMJ_STREAM_VERSION;
	s->header_bytes = sizeof(*s);
	s->record_bytes = sizeof(struct vmj_sample);
	s->clock_id = CLOCK_MONOTONIC;
	s->period_ns = r->period_ns;
	s->t0_ns = r->t0_ns;
	s->loops = r->loops;
	if (run->shm.base) {
		shared = vmj_shm_stream(&run->shm);
		vmj_shm_copy(&shared->version, &s->version, sizeof(*s) - sizeof(s->magic));
		__atomic_thread_fence(__ATOMIC_RELEASE);
		vmj_shm_copy(shared->magic, s->magic, sizeof(s->magic));
	}
	publish(run, VMJ_RUN_RUNNING);
}

static void set_up_loop(struct probe_run *run)
{
	const struct probe_options *o = run->options;
	struct probe_loop *l = &run->loop;

	l->ring = run->samples;
	l->limit = o->loops ? o->loops : UINT64_MAX;
	l->break_ns = o->break_ns ? (int64_t)o->break_ns : INT64_MAX;
	l->period = vmj_ns_timespec(o->interval_ns);
	probe_loop_start(l, vmj_ns_timespec(run->result.t0_ns));
}

static void measure(struct probe_run *run)
{
	struct vmj_probe_result *r = &run->result;
	struct rusage before, after;

	warm_up(run);
	run->first = vmj_clock_pair();
	r->start_ns = run->first.ns;
	r->tsc0 = run->first.tsc;
	announce(run);
	set_up_loop(run);
	/* Called once before, so that its own first call faults nothing in. */
	getrusage(RUSAGE_THREAD, &after);
	getrusage(RUSAGE_THREAD, &before);
	probe_loop_run(&run->loop);
	getrusage(RUSAGE_THREAD, &after);
	run->last = vmj_clock_pair();
	r->end_ns = run->last.ns;
	r->tsc1 = run->last.tsc;
	r->minflt = (uint64_t)(after.ru_minflt - before.ru_minflt);
	r->majflt = (uint64_t)(after.ru_majflt - before.ru_majflt);
	r->nvcsw = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
	r->nivcsw = (uint64_t)(after.ru_nivcsw - before.ru_nivcsw);
}

static void check_after(struct probe_run *run)
{
	struct vmj_probe_result *r = &run->result;
	struct vmj_sched now = { -1, -1, 0 };

	vmj_get_sched(&now);
	r->policy_after = now.policy;
	r->priority_after = now.priority;
	r->affinity_after = now.affinity;
	vmj_clocksource(r->clocksource_after, sizeof(r->clocksource_after));
	vmj_set_policy(SCHED_OTHER, 0); /* what follows is not urgent */
	r->tsc_hz = vmj_tsc_hz(run->first, run->last);
	run->stream.tsc_hz = r->tsc_hz;
	r->written = (uint32_t)run->loop.k;
	r->overruns = (uint32_t)run->loop.overruns;
	if (run->shm.base)
		vmj_shm_copy(&vmj_shm_stream(&run->shm)->tsc_hz, &r->tsc_hz, sizeof(r->tsc_hz));
}

static void collect_warnings(struct probe_run *run)
{
	const struct vmj_probe_result *r = &run->result;

	if (r->policy == SCHED_OTHER)
		warn(run, "measured without real-time priority");
	if (r->minflt || r->majflt)
		warn(run, "page faults during the run: %" PRIu64 " minor, %" PRIu64 " major",
		     r->minflt, r->majflt);
	if (strcmp(r->clocksource_before, r->clocksource_after) != 0)
		warn(run, "the clocksource changed during the run: %s, then %s",
		     r->clocksource_before, r->clocksource_after);
	if (r->policy != r->policy_after || r->priority != r->priority_after)
		warn(run, "the scheduling changed during the run: now %s:%d",
		     vmj_policy_name(r->policy_after), r->priority_after);
	if (r->affinity != r->affinity_after)
		warn(run, "the affinity changed during the run: now 0x%" PRIx64, r->affinity_after);
	if (run->loop.k > 0 && run->loop.min_ns < 0)
		warn(run, "woke up before the planned time: the clock is not to be trusted");
}

int probe_run(struct probe_run *run, const struct probe_options *options)
{
	memset(run, 0, sizeof(*run));
	run->options = options;
	run->result.pid = (int32_t)getpid();
	run->result.period_ns = options->interval_ns;
	run->result.loops = options->loops;
	if ((options->shm ? open_shared(run) : open_own(run)) != 0)
		return VMJ_EXIT_ERROR;
	if (prepare(run) != 0) {
		publish(run, VMJ_RUN_FAILED);
		return VMJ_EXIT_ERROR;
	}
	measure(run);
	check_after(run);
	collect_warnings(run);
	publish(run, VMJ_RUN_DONE);
	return VMJ_EXIT_OK;
}

void probe_run_free(struct probe_run *run)
{
	if (run->own_bytes)
		munmap(run->samples, run->own_bytes);
	vmj_shm_unmap(&run->shm);
}
