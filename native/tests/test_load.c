/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "load.h"
#include "pacer.h"
#include "process.h"

#define SECOND UINT64_C(1000000000)
#define START UINT64_C(123456789)

/* Operations that fall due within one second when we always come in time. */
static uint64_t in_a_second(uint64_t rate)
{
	struct load_pacer p;
	uint64_t sum = 0;

	load_pacer_start(&p, rate, START);
	while (p.next_ns < START + SECOND)
		sum += load_pacer_due(&p, p.next_ns);
	return sum;
}

static void test_rates_are_exact(void)
{
	static const uint64_t rates[] = { 1, 3, 7, 200, 300, 999, 1000, 1001, 2500, 7777, 1234567 };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		CHECK(in_a_second(rates[i]) == rates[i]);
}

static void test_nothing_is_due_early(void)
{
	struct load_pacer p;

	load_pacer_start(&p, 10, START);
	CHECK(load_pacer_due(&p, START) == 1);
	CHECK(load_pacer_due(&p, START + SECOND / 10 - 1) == 0);
	CHECK(load_pacer_due(&p, START + SECOND / 10) == 1);
}

static void test_a_short_delay_is_caught_up(void)
{
	struct load_pacer p;
	uint64_t sum = 0;
	uint32_t due;

	load_pacer_start(&p, 100, START);
	while ((due = load_pacer_due(&p, START + SECOND / 2)) > 0)
		sum += due;
	CHECK(sum == 51);
}

static void test_a_long_delay_is_dropped(void)
{
	struct load_pacer p;
	uint64_t now = START + 60 * SECOND;

	load_pacer_start(&p, 100, START);
	CHECK(load_pacer_due(&p, now) == 1);
	CHECK(load_pacer_due(&p, now) == 0 && p.next_ns == now + SECOND / 100);
}

static void test_free_running(void)
{
	struct load_pacer p;

	load_pacer_start(&p, 0, START);
	CHECK(load_pacer_due(&p, 0) == 1 && load_pacer_due(&p, 0) == 1);
}

static void test_registry(void)
{
	uint32_t count = 0;

	for (const struct load *const *at = load_registry; *at; at++, count++) {
		const struct load *load = *at;

		CHECK(load_find(load->name) == load);
		CHECK(load->op && load->slots[0] && load->default_rate > 0);
		CHECK(strlen(load->unit) < sizeof(((struct vmj_load_slot *)0)->unit));
		CHECK(strlen(load->slots[0]) < sizeof(((struct vmj_load_slot *)0)->name));
		CHECK(load->default_size == 0 || (load->default_size >= load->smallest_size &&
						  load->default_size <= load->largest_size));
	}
	CHECK(count == 11 && !load_find("none") && !load_find(""));
}

static void test_random_does_not_stick(void)
{
	uint64_t state = 1, first = load_random(&state);

	CHECK(first != 0 && load_random(&state) != first);
}

/* A generator with a period of 2^32 - 1 is elsewhere after a burst, unless it was optimised away. */
static void test_a_burst_of_cpu_is_one_operation(void)
{
	struct load_run run;
	uint32_t first, second;

	memset(&run, 0, sizeof(run));
	CHECK(load_cpu.set_up(&run) == 0);
	memcpy(&first, run.state, sizeof(first));
	CHECK(load_cpu.op(&run) == 1);
	memcpy(&second, run.state, sizeof(second));
	CHECK(first != 0 && second != 0 && second != first);
	load_cpu.tear_down(&run);
}

static int end_at_once(struct load_run *run)
{
	(void)run;
	return 0;
}

/* The helper's end is signalled before the read begins, and the pipe stays open: without a
 * further signal the read would last for ever. */
static void test_a_helper_may_end_before_it_is_waited_for(void)
{
	struct load_run run;
	int ends[2];
	char byte;

	memset(&run, 0, sizeof(run));
	load_catch_signals();
	CHECK(pipe(ends) == 0 && load_fork(&run, end_at_once) == 0);
	while (!load_child_ended())
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	CHECK(load_read(&run, ends[0], &byte, 1) == -1);
	CHECK(strcmp(run.message, "a helper process has ended") == 0);
	load_end_children(&run);
}

int main(void)
{
	test_rates_are_exact();
	test_nothing_is_due_early();
	test_a_short_delay_is_caught_up();
	test_a_long_delay_is_dropped();
	test_free_running();
	test_registry();
	test_random_does_not_stick();
	test_a_burst_of_cpu_is_one_operation();
	test_a_helper_may_end_before_it_is_waited_for();
	return check_result("load");
}
