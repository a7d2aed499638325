/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "opts.h"

#define DEFAULT_INTERVAL_NS UINT64_C(1000000)
#define DEFAULT_DURATION_NS UINT64_C(10000000000)
#define SHORTEST_INTERVAL_NS UINT64_C(1000)
#define LONGEST_NS UINT64_C(1000000000000000000) /* 31 years: sums stay in 63 bits */
#define MOST_BUCKETS UINT64_C(10000000)

enum long_only { OPT_POLICY = 256, OPT_NO_LOCK, OPT_JSON, OPT_RAW, OPT_WARM_UP, OPT_HISTFILE,
		 OPT_SHM, OPT_LAYOUT, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "interval", required_argument, NULL, 'i' },
	{ "loops", required_argument, NULL, 'l' },
	{ "duration", required_argument, NULL, 'D' },
	{ "priority", required_argument, NULL, 'p' },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "affinity", required_argument, NULL, 'a' },
	{ "mlockall", no_argument, NULL, 'm' },
	{ "no-mlockall", no_argument, NULL, OPT_NO_LOCK },
	{ "quiet", no_argument, NULL, 'q' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "raw", required_argument, NULL, OPT_RAW },
	{ "breaktrace", required_argument, NULL, 'b' },
	{ "warm-up", required_argument, NULL, OPT_WARM_UP },
	{ "histogram", required_argument, NULL, 'h' },
	{ "histfile", required_argument, NULL, OPT_HISTFILE },
	{ "shm", required_argument, NULL, OPT_SHM },
	{ "layout", no_argument, NULL, OPT_LAYOUT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

void probe_print_help(void)
{
	static const char text[] =
"Usage: probe [options]\n"
"Measures how late a periodic program wakes up.\n"
"Latency: from the planned time of an activation, t0 + k * interval on CLOCK_MONOTONIC, to\n"
"the clock reading right after clock_nanosleep(TIMER_ABSTIME) has returned.\n"
"\n"
"  -i, --interval US    period in microseconds, or with a suffix ns us ms s (1000)\n"
"  -l, --loops N        number of activations\n"
"  -D, --duration T     length in seconds, or with a suffix s m h d (10, if no -l)\n"
"      --warm-up T      run this long before the first recorded activation (0)\n"
"  -p, --priority N     real-time priority, 1 to 99 (80)\n"
"      --policy P       fifo, rr or other (fifo)\n"
"  -a, --affinity CPUS  CPUs to run on, such as 3 or 0,2-3\n"
"  -m, --mlockall       lock memory; this is the default\n"
"      --no-mlockall    do not\n"
"  -b, --breaktrace US  end at the first latency above this\n"
"  -h, --histogram US   print a histogram of this many buckets of 1 us\n"
"      --histfile FILE  write the histogram to FILE instead\n"
"      --raw FILE       write every sample to FILE (struct vmj_stream_header, then records)\n"
"      --shm FILE       measure into memory shared with the host; -l 0: until stopped\n"
"      --json           result as JSON\n"
"  -q, --quiet          nothing but the result\n"
"      --layout         print the layout of the shared memory as JSON, and end\n"
"      --help, --version\n"
"\n"
"Exit status: 0 measured; 1 error; 2 usage; 3 a latency above --breaktrace.\n"
"\n"
"Examples:\n"
"  probe                         ten seconds, 1 ms period, SCHED_FIFO 80\n"
"  probe -i 500 -l 240000 -a 1   two minutes at 500 us on CPU 1\n"
"  probe -D 12h -b 500 -q        stop at the first wake-up later than 500 us\n"
"  probe --policy other -D 5     without real-time priority, needs no permission\n"
"  probe -D 60 --raw run.vmj --histfile run.hist -h 1000\n";

	fputs(text, stdout);
}

static bool parse_policy(const char *text, int *policy)
{
	static const struct { const char *name; int policy; } names[] = {
		{ "fifo", SCHED_FIFO }, { "rr", SCHED_RR }, { "other", SCHED_OTHER },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].name, text) == 0) {
			*policy = names[i].policy;
			return true;
		}
	}
	return false;
}

static bool parse_length(const char *text, uint64_t unit_ns, uint64_t *value_ns)
{
	return vmj_parse_time_ns(text, unit_ns, value_ns) && *value_ns <= LONGEST_NS;
}

static bool parse_priority(struct probe_options *o, const char *text)
{
	uint64_t value;

	if (!vmj_parse_u64(text, 99, &value))
		return false;
	o->priority = (int)value;
	o->priority_given = true;
	return true;
}

static bool parse_loops(struct probe_options *o, const char *text)
{
	o->loops_given = true;
	return vmj_parse_u64(text, UINT64_C(1) << 48, &o->loops);
}

/* Options that carry a value; false: the value is wrong. */
static bool set_value(struct probe_options *o, int option, const char *text)
{
	switch (option) {
	case 'i':
		return parse_length(text, 1000, &o->interval_ns) &&
		       o->interval_ns >= SHORTEST_INTERVAL_NS;
	case 'l':
		return parse_loops(o, text);
	case 'D':
		return parse_length(text, VMJ_NSEC_PER_SEC, &o->duration_ns) && o->duration_ns;
	case 'p':
		return parse_priority(o, text);
	case 'a':
		return vmj_parse_cpus(text, &o->affinity);
	case 'b':
		return parse_length(text, 1000, &o->break_ns) && o->break_ns;
	case 'h':
		return vmj_parse_u64(text, MOST_BUCKETS, &o->histogram_us) && o->histogram_us;
	case OPT_POLICY:
		return parse_policy(text, &o->policy);
	default:
		return parse_length(text, VMJ_NSEC_PER_SEC, &o->warm_up_ns);
	}
}

/* Options that are true whatever they carry; false: not one of these. */
static bool set_plain(struct probe_options *o, int option)
{
	switch (option) {
	case 'm':
		o->lock_memory = true;
		return true;
	case OPT_NO_LOCK:
		o->lock_memory = false;
		return true;
	case 'q':
		o->quiet = true;
		return true;
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_RAW:
		o->raw = optarg;
		return true;
	case OPT_HISTFILE:
		o->histfile = optarg;
		return true;
	case OPT_SHM:
		o->shm = optarg;
		return true;
	case OPT_LAYOUT:
		o->action = PROBE_LAYOUT;
		return true;
	case OPT_HELP:
		o->action = PROBE_HELP;
		return true;
	case OPT_VERSION:
		o->action = PROBE_VERSION;
		return true;
	default:
		return false;
	}
}

static const char *conflict(const struct probe_options *o)
{
	if (o->policy == SCHED_OTHER && o->priority_given && o->priority != 0)
		return "--policy other has no priority; leave out -p";
	if (o->policy != SCHED_OTHER && o->priority == 0)
		return "-p 0 is not a real-time priority; use 1 to 99, or --policy other";
	if (o->histfile && !o->histogram_us)
		return "--histfile needs the number of buckets: -h US";
	if (o->shm && (o->raw || o->histogram_us))
		return "--raw and -h need the samples, which --shm leaves to the host";
	if (o->histogram_us && o->json && !o->histfile)
		return "--json and -h both print to stdout; use --histfile FILE";
	if (o->loops_given && o->loops == 0 && !o->duration_ns && !o->shm)
		return "-l 0 (no end) needs --shm or -D";
	return NULL;
}

/* Activations from -l and -D: whichever ends first. */
static void settle_loops(struct probe_options *o)
{
	uint64_t by_time;

	if (!o->loops_given && !o->duration_ns)
		o->duration_ns = DEFAULT_DURATION_NS;
	if (!o->duration_ns)
		return;
	by_time = o->duration_ns / o->interval_ns;
	if (by_time == 0)
		by_time = 1;
	if (o->loops == 0 || by_time < o->loops)
		o->loops = by_time;
}

static int usage(const char *message)
{
	fprintf(stderr, "probe: %s\n", message);
	return VMJ_EXIT_USAGE;
}

static int settle(struct probe_options *o)
{
	const char *fault = conflict(o);

	if (o->policy == SCHED_OTHER)
		o->priority = 0;
	if (fault)
		return usage(fault);
	settle_loops(o);
	return 0;
}

int probe_parse_options(struct probe_options *o, int argc, char **argv)
{
	int option, which = -1;

	*o = (struct probe_options){
		.interval_ns = DEFAULT_INTERVAL_NS,
		.policy = SCHED_FIFO,
		.priority = PROBE_DEFAULT_PRIORITY,
		.lock_memory = true,
	};
	optind = 1;
	if (!vmj_spelled_out(argc, argv, long_options))
		return VMJ_EXIT_USAGE;
	while ((option = getopt_long(argc, argv, "i:l:D:p:a:mqb:h:", long_options, &which)) != -1) {
		if (option == '?')
			return usage("see --help");
		if (set_plain(o, option))
			continue;
		if (!set_value(o, option, optarg)) {
			fprintf(stderr, "probe: wrong value '%s' for ", optarg);
			if (option < 256)
				fprintf(stderr, "-%c; see --help\n", option);
			else
				fprintf(stderr, "--%s; see --help\n", long_options[which].name);
			return VMJ_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "probe: unexpected argument '%s'; see --help\n", argv[optind]);
		return VMJ_EXIT_USAGE;
	}
	return o->action == PROBE_MEASURE ? settle(o) : 0;
}
