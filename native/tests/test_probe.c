/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "loop.h"
#include "options.h"
#include "opts.h"
#include "stats.h"

#define MS UINT64_C(1000000)
#define T0 (UINT64_C(5) * 1000 * MS + 999 * MS) /* so that seconds carry early */
#define RING 8u

struct fixture {
	struct vmj_sample ring[RING];
	struct vmj_probe_result live;
	uint32_t stop;
	struct probe_loop loop;
};

/* A loop with a period of 1 ms, a ring of eight records, and `limit` activations. */
static void begin(struct fixture *f, uint64_t limit)
{
	memset(f, 0, sizeof(*f));
	f->loop.ring = f->ring;
	f->loop.mask = RING - 1;
	f->loop.limit = limit;
	f->loop.break_ns = INT64_MAX;
	f->loop.period = vmj_ns_timespec(MS);
	f->loop.live = &f->live;
	f->loop.stop = &f->stop;
	probe_loop_start(&f->loop, vmj_ns_timespec(T0));
}

static void wake(struct fixture *f, uint64_t now_ns, uint64_t tsc)
{
	probe_loop_wake(&f->loop, vmj_ns_timespec(now_ns), tsc);
}

static void test_punctual(void)
{
	struct fixture f;

	begin(&f, 100);
	wake(&f, T0 + 10, 111);
	wake(&f, T0 + MS + 20, 222);
	CHECK(f.loop.k == 2 && f.loop.overruns == 0);
	CHECK(f.ring[0].latency_ns == 10 && f.ring[0].tsc == 111);
	CHECK(f.ring[1].latency_ns == 20 && f.ring[1].tsc == 222);
	CHECK(f.live.written == 2 && f.live.overruns == 0);
	CHECK(vmj_timespec_ns(f.loop.next) == T0 + 2 * MS);
	CHECK(f.loop.min_ns == 10 && f.loop.max_ns == 20 && f.loop.sum_ns == 30);
}

static void test_early_wake_up_is_kept(void)
{
	struct fixture f;

	begin(&f, 100);
	wake(&f, T0 - 5, 1);
	CHECK(f.ring[0].latency_ns == -5 && f.loop.min_ns == -5 && f.loop.overruns == 0);
}

static void test_overruns(void)
{
	struct fixture f;

	begin(&f, 100);
	wake(&f, T0 + 3 * MS + 1, 7); /* 1, 2 and 3 have passed */
	CHECK(f.loop.k == 4 && f.loop.overruns == 3);
	CHECK(f.ring[0].latency_ns == 3 * (int64_t)MS + 1);
	for (int i = 1; i < 4; i++)
		CHECK(f.ring[i].latency_ns == VMJ_MISSED && f.ring[i].tsc == 0);
	CHECK(f.live.written == 4 && f.live.overruns == 3);
	wake(&f, T0 + 4 * MS + 9, 8); /* the schedule is the old one */
	CHECK(f.ring[4].latency_ns == 9);
}

static void test_planned_time_reached_exactly_is_missed(void)
{
	struct fixture f;

	begin(&f, 100);
	wake(&f, T0 + MS, 1);
	CHECK(f.loop.k == 2 && f.loop.overruns == 1);
	begin(&f, 100);
	wake(&f, T0 + MS - 1, 1);
	CHECK(f.loop.k == 1 && f.loop.overruns == 0);
}

static void test_overruns_end_at_the_limit(void)
{
	struct fixture f;

	begin(&f, 3);
	wake(&f, T0 + 50 * MS, 1);
	CHECK(f.loop.k == 3 && f.loop.overruns == 2);
}

static void test_ring_wraps(void)
{
	struct fixture f;

	begin(&f, 100);
	for (uint64_t k = 0; k < 11; k++)
		wake(&f, T0 + k * MS + k, k);
	CHECK(f.ring[10 % RING].latency_ns == 10 && f.ring[3].latency_ns == 3);
	CHECK(f.live.written == 11);
}

static void test_break(void)
{
	struct fixture f;

	begin(&f, 100);
	f.loop.break_ns = 100;
	wake(&f, T0 + 100, 1);
	CHECK(!f.loop.broke);
	wake(&f, T0 + MS + 101, 1);
	CHECK(f.loop.broke);
}

static void test_run_obeys_stop_and_limit(void)
{
	struct fixture f;

	begin(&f, 5);
	f.stop = 1;
	probe_loop_run(&f.loop);
	CHECK(f.loop.k == 0);
	f.stop = 0;
	f.loop.next = vmj_now(); /* long past T0 on any machine that is up a minute */
	probe_loop_run(&f.loop);
	CHECK(f.loop.k == 5);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_quantiles(void)
{
	static const uint32_t permilles[] = { PROBE_P50, PROBE_P99, PROBE_P999 };
	int64_t values[4000], sorted[4000];
	uint64_t random = 1;

	for (uint64_t count = 1; count <= 4000; count = count * 2 + 1) {
		for (uint64_t i = 0; i < count; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			sorted[i] = values[i] = (int64_t)(random >> 50) - 5000;
		}
		qsort(sorted, (size_t)count, sizeof(sorted[0]), by_value);
		for (int p = 0; p < 3; p++) {
			uint64_t rank = (count * permilles[p] + 999) / 1000;

			CHECK(probe_quantile(values, count, permilles[p]) == sorted[rank - 1]);
		}
	}
}

static void test_quantile_of_equal_values(void)
{
	int64_t values[1000];

	for (int i = 0; i < 1000; i++)
		values[i] = 42;
	CHECK(probe_quantile(values, 1000, PROBE_P999) == 42);
}

static void test_quantile_support(void)
{
	CHECK(!probe_quantile_supported(5, PROBE_P50) && probe_quantile_supported(6, PROBE_P50));
	CHECK(!probe_quantile_supported(299, PROBE_P99) && probe_quantile_supported(300, PROBE_P99));
	CHECK(!probe_quantile_supported(2999, PROBE_P999));
	CHECK(probe_quantile_supported(3000, PROBE_P999));
}

static void test_latencies_leave_out_missed(void)
{
	const struct vmj_sample records[] = { { 5, 1 }, { VMJ_MISSED, 0 }, { -1, 2 } };
	int64_t values[3];

	CHECK(probe_latencies(records, 3, values) == 2 && values[0] == 5 && values[1] == -1);
}

static int parse(struct probe_options *options, const char *a, const char *b, const char *c)
{
	char program[] = "probe", one[64], two[64], three[64];
	char *argv[] = { program, one, two, three, NULL };
	int argc = 1 + (a != NULL) + (b != NULL) + (c != NULL);

	snprintf(one, sizeof(one), "%s", a ? a : "");
	snprintf(two, sizeof(two), "%s", b ? b : "");
	snprintf(three, sizeof(three), "%s", c ? c : "");
	argv[argc] = NULL;
	return probe_parse_options(options, argc, argv);
}

static void test_defaults(void)
{
	struct probe_options o;

	CHECK(parse(&o, NULL, NULL, NULL) == 0);
	CHECK(o.interval_ns == MS && o.loops == 10000 && o.policy == SCHED_FIFO);
	CHECK(o.priority == 80 && o.lock_memory && !o.json);
}

static void test_options(void)
{
	struct probe_options o;

	CHECK(parse(&o, "-i500", "-D", "2m") == 0 && o.interval_ns == 500000 && o.loops == 240000);
	CHECK(parse(&o, "-i", "2ms", "-l7") == 0 && o.interval_ns == 2 * MS && o.loops == 7);
	CHECK(parse(&o, "-l100000", "-D", "1") == 0 && o.loops == 1000);
	CHECK(parse(&o, "--policy", "other", NULL) == 0 && o.priority == 0);
	CHECK(parse(&o, "--policy=rr", "-p5", "--no-mlockall") == 0 && o.priority == 5);
	CHECK(o.policy == SCHED_RR && !o.lock_memory);
	CHECK(parse(&o, "-a", "0,2-3", NULL) == 0 && o.affinity == 0xd);
}

static void test_wrong_options(void)
{
	static const char *const wrong[][3] = {
		{ "-smp", "-p", "80" }, { "-i", "0", NULL },     { "-i", "1x", NULL },
		{ "-i", "-5", NULL },   { "-l", "1e3", NULL },   { "-D", "0", NULL },
		{ "-p", "100", NULL },  { "-p", "0", NULL },     { "--policy", "idle", NULL },
		{ "--dur", "5", NULL }, { "extra", NULL, NULL }, { "-a", "3-1", NULL },
		{ "-a", "", NULL },     { "-l", "0", NULL },     { "--histfile", "x", NULL },
		{ "-b", "0", NULL },    { "-h", "10", "--json" }, { "-n", NULL, NULL },
	};
	struct probe_options o;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(parse(&o, wrong[i][0], wrong[i][1], wrong[i][2]) == VMJ_EXIT_USAGE);
}

static void test_numbers(void)
{
	uint64_t value;

	CHECK(vmj_parse_u64("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX);
	CHECK(!vmj_parse_u64("18446744073709551616", UINT64_MAX, &value));
	CHECK(!vmj_parse_u64("", 9, &value) && !vmj_parse_u64(" 1", 9, &value));
	CHECK(!vmj_parse_u64("0x1", 9, &value) && !vmj_parse_u64("+1", 9, &value));
	CHECK(vmj_parse_time_ns("3us", 1, &value) && value == 3000);
	CHECK(vmj_parse_time_ns("2d", 1, &value) && value == UINT64_C(172800000000000));
	CHECK(!vmj_parse_time_ns("99999999999999d", 1, &value));
	CHECK(!vmj_parse_time_ns("s", 1, &value) && !vmj_parse_time_ns("1 s", 1, &value));
	CHECK(vmj_parse_bytes("64K", &value) && value == 65536);
	CHECK(!vmj_parse_bytes("64KiB", &value));
}

static void test_lists_and_addresses(void)
{
	uint64_t mask;
	uint32_t address;
	uint16_t port;

	CHECK(vmj_parse_cpus("63", &mask) && mask == UINT64_C(1) << 63);
	CHECK(!vmj_parse_cpus("64", &mask) && !vmj_parse_cpus("1,", &mask));
	CHECK(!vmj_parse_cpus("1,,2", &mask) && !vmj_parse_cpus("1-", &mask));
	CHECK(vmj_parse_address("10.0.2.15:7777", &address, &port));
	CHECK(address == 0x0a00020f && port == 7777);
	CHECK(!vmj_parse_address("10.0.2:7", &address, &port));
	CHECK(!vmj_parse_address("10.0.2.256:7", &address, &port));
	CHECK(!vmj_parse_address("10.0.2.1:65536", &address, &port));
	CHECK(!vmj_parse_address("10.0.2.1", &address, &port));
}

static void test_tsc_frequency(void)
{
	struct vmj_clock_pair first = { 1000, 5000 };
	struct vmj_clock_pair last = { 1000 + UINT64_C(1000000000000), 5000 + UINT64_C(3100000000000) };

	CHECK(vmj_tsc_hz(first, last) == UINT64_C(3100000000));
	CHECK(vmj_tsc_hz(first, first) == 0);
}

static struct vmj_shm_header good_header(void)
{
	struct vmj_shm_header header;

	memset(&header, 0, sizeof(header));
	memcpy(header.magic, VMJ_SHM_MAGIC, sizeof(header.magic));
	header.version = VMJ_SHM_VERSION;
	header.ring_records = 1024;
	header.total_bytes = VMJ_OFF_RING + 1024 * sizeof(struct vmj_sample);
	return header;
}

static void test_shm_header(void)
{
	struct vmj_shm_header h = good_header();
	uint64_t bytes = h.total_bytes;

	CHECK(vmj_shm_check(&h, bytes) == NULL);
	CHECK(vmj_shm_check(&h, bytes + 4096) == NULL);
	CHECK(vmj_shm_check(&h, bytes - 1) != NULL);
	h.magic[0] = 'x';
	CHECK(vmj_shm_check(&h, bytes) != NULL);
	h = good_header();
	h.version = 2;
	CHECK(vmj_shm_check(&h, bytes) != NULL);
	h = good_header();
	h.ring_records = 1000;
	CHECK(vmj_shm_check(&h, bytes) != NULL);
	h.ring_records = 0;
	CHECK(vmj_shm_check(&h, bytes) != NULL);
	h.ring_records = UINT64_C(1) << 62;
	CHECK(vmj_shm_check(&h, bytes) != NULL);
}

int main(void)
{
	test_punctual();
	test_early_wake_up_is_kept();
	test_overruns();
	test_planned_time_reached_exactly_is_missed();
	test_overruns_end_at_the_limit();
	test_ring_wraps();
	test_break();
	test_run_obeys_stop_and_limit();
	test_quantiles();
	test_quantile_of_equal_values();
	test_quantile_support();
	test_latencies_leave_out_missed();
	test_defaults();
	test_options();
	if (freopen("/dev/null", "w", stderr)) /* the complaints are not a failure */
		test_wrong_options();
	test_numbers();
	test_lists_and_addresses();
	test_tsc_frequency();
	test_shm_header();
	return check_result("probe");
}
