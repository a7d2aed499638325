/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "opts.h"
#include "pacer.h"
#include "process.h"

#define SECOND_NS UINT64_C(1000000000)

static uint32_t slots_of(const struct load_run *run)
{
	return run->options->load->slots[1] ? 2 : 1;
}

static void begin_second(struct load_run *run)
{
	for (uint32_t i = 0; i < slots_of(run); i++) {
		struct load_counter *c = &run->counters[i];

		c->in_second = 0;
		c->slot->history[run->second % VMJ_LOAD_HISTORY] = 0;
		vmj_store_release(&c->slot->second, run->second);
	}
}

static void print_second(const struct load_run *run)
{
	for (uint32_t i = 0; i < slots_of(run); i++)
		printf("%s: second %" PRIu32 ": %" PRIu32 " operations, %" PRIu32 " errors in all\n",
		       run->counters[i].slot->name, run->second, run->counters[i].in_second,
		       run->counters[i].slot->errors);
	fflush(stdout);
}

/* Closes every second that has ended by now. */
static void tick(struct load_run *run, uint64_t now_ns)
{
	while (now_ns >= run->second_end_ns) {
		if (!run->options->quiet && !run->options->json)
			print_second(run);
		run->second++;
		run->second_end_ns += SECOND_NS;
		begin_second(run);
	}
}

void load_count(struct load_run *run, uint32_t direction, uint32_t operations)
{
	struct load_counter *c = &run->counters[direction];

	tick(run, vmj_now_ns());
	c->total += operations;
	c->in_second += operations;
	c->slot->history[run->second % VMJ_LOAD_HISTORY] = c->in_second;
	vmj_store_release(&c->slot->ops, (uint32_t)c->total);
}

void load_count_error(struct load_run *run, uint32_t direction)
{
	run->counters[direction].slot->errors++;
}

bool load_stopping(const struct load_run *run)
{
	return load_signalled() || (run->control && vmj_load_acquire(&run->control->load_stop) != 0);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void wait_until(struct load_run *run, uint64_t until_ns)
{
	if (run->options->load->wait)
		run->options->load->wait(run, until_ns);
	else
		vmj_sleep_until(vmj_ns_timespec(until_ns));
}

static int operate(struct load_run *run, uint32_t due)
{
	for (; due > 0 && !load_stopping(run); due--) {
		int done = run->options->load->op(run);

		if (done < 0)
			return -1;
		if (done > 0)
			load_count(run, 0, (uint32_t)done);
	}
	return 0;
}

static int work(struct load_run *run)
{
	const struct load_options *o = run->options;
	uint64_t end_ns = o->duration_ns ? run->start_ns + o->duration_ns : UINT64_MAX;
	struct load_pacer pacer;

	load_pacer_start(&pacer, o->load->paces_itself ? 0 : o->rate, run->start_ns);
	while (!load_stopping(run)) {
		uint64_t now_ns = vmj_now_ns();
		uint32_t due;

		tick(run, now_ns);
		if (now_ns >= end_ns)
			break;
		if (load_child_ended())
			return load_fail(run, "a helper process has ended");
		due = load_pacer_due(&pacer, now_ns);
		if (due == 0)
			wait_until(run, earliest(earliest(pacer.next_ns, run->second_end_ns), end_ns));
		else if (operate(run, due) != 0)
			return -1;
	}
	return 0;
}

static void set_state(struct load_run *run, uint32_t state, int32_t exit_status)
{
	for (uint32_t i = 0; i < slots_of(run); i++) {
		struct vmj_load_slot *slot = run->counters[i].slot;

		memcpy(slot->message, run->message, sizeof(slot->message));
		slot->exit_status = exit_status;
		vmj_store_release(&slot->state, state);
	}
}

static void announce(struct load_run *run)
{
	run->start_ns = vmj_now_ns();
	run->second_end_ns = run->start_ns + SECOND_NS;
	run->second = 0;
	begin_second(run);
	for (uint32_t i = 0; i < slots_of(run); i++)
		run->counters[i].slot->start_ns = run->start_ns;
	set_state(run, VMJ_RUN_RUNNING, 0);
}

/* Slots in shared memory, or in `local` without it. */
static int open_slots(struct load_run *run, struct vmj_load_slot *local)
{
	const struct load_options *o = run->options;

	if (o->shm && vmj_shm_map(&run->shm, o->shm, run->message, sizeof(run->message)) != 0)
		return -1;
	if (o->shm)
		run->control = vmj_shm_control(&run->shm);
	for (uint32_t i = 0; i < slots_of(run); i++) {
		struct vmj_load_slot *slot = o->shm ? vmj_shm_load(&run->shm, o->slot + i) : &local[i];

		memset(slot, 0, offsetof(struct vmj_load_slot, history));
		snprintf(slot->name, sizeof(slot->name), "%s", o->load->slots[i]);
		snprintf(slot->unit, sizeof(slot->unit), "%s", o->load->unit);
		slot->pid = (int32_t)getpid();
		slot->rate = i == 0 ? o->rate : 0;
		run->counters[i].slot = slot;
	}
	set_state(run, VMJ_RUN_STARTING, 0);
	return 0;
}

static int run_load(struct load_run *run)
{
	const struct load *load = run->options->load;
	int failed = load->set_up ? load->set_up(run) : 0;

	if (!failed) {
		announce(run);
		failed = work(run);
	}
	load_end_children(run);
	if (load->tear_down)
		load->tear_down(run);
	return failed ? VMJ_EXIT_ERROR : VMJ_EXIT_OK;
}

static double mean_rate(const struct load_run *run, const struct load_counter *c)
{
	uint64_t ran_ns = run->start_ns ? vmj_now_ns() - run->start_ns : 0;

	return ran_ns ? (double)c->total * 1e9 / (double)ran_ns : 0.0;
}

static void print_text(const struct load_run *run)
{
	for (uint32_t i = 0; i < slots_of(run); i++) {
		const struct load_counter *c = &run->counters[i];

		printf("%s: %" PRIu64 " x %s, %.1f/s (asked for %" PRIu64 "), %" PRIu32 " errors\n",
		       c->slot->name, c->total, c->slot->unit, mean_rate(run, c), c->slot->rate,
		       c->slot->errors);
	}
}

static void print_json(const struct load_run *run, int status)
{
	printf("{\"format\": 1, \"exit_status\": %d, \"message\": ", status);
	vmj_print_json_string(run->message);
	fputs(", \"loads\": [", stdout);
	for (uint32_t i = 0; i < slots_of(run); i++) {
		const struct load_counter *c = &run->counters[i];

		printf("%s{\"name\": \"%s\", \"unit\": \"%s\", \"ops\": %" PRIu64 ", \"errors\": %" PRIu32
		       ", \"seconds\": %" PRIu32 ", \"rate\": %" PRIu64 ", \"mean_rate\": %.3f}",
		       i ? ", " : "", c->slot->name, c->slot->unit, c->total, c->slot->errors,
		       run->second, c->slot->rate, mean_rate(run, c));
	}
	puts("]}");
}

static void report(const struct load_run *run, int status)
{
	if (status != VMJ_EXIT_OK)
		fprintf(stderr, "load %s: %s\n", run->options->load->name, run->message);
	if (run->options->json)
		print_json(run, status);
	else if (status == VMJ_EXIT_OK)
		print_text(run);
	fflush(stdout);
}

int load_run(struct load_run *run, const struct load_options *options)
{
	static struct vmj_load_slot local[LOAD_DIRECTIONS]; /* 32 KiB: too much for a stack */
	int status;

	memset(run, 0, sizeof(*run));
	run->options = options;
	load_catch_signals();
	if (open_slots(run, local) != 0) {
		fprintf(stderr, "load %s: %s\n", options->load->name, run->message);
		return VMJ_EXIT_ERROR;
	}
	status = run_load(run);
	set_state(run, status == VMJ_EXIT_OK ? VMJ_RUN_DONE : VMJ_RUN_FAILED, status);
	report(run, status);
	vmj_shm_unmap(&run->shm);
	return status;
}
