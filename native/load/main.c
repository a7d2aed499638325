/* SPDX-License-Identifier: Apache-2.0
 * load: disturbs, and proves that it did.
 */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "opts.h"
#include "runner.h"

#ifndef VMJ_VERSION
#define VMJ_VERSION "unknown"
#endif

#define MOST_PAIRS 16u /* two processes each */
#define MOST_RATE UINT64_C(100000000)
#define LONGEST_NS UINT64_C(1000000000000000000)

enum long_only { OPT_RATE = 256, OPT_DIR, OPT_SIZE, OPT_PAIRS, OPT_SHM, OPT_SLOT, OPT_JSON,
		 OPT_PEER, OPT_LISTEN, OPT_NETNS, OPT_LIST, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "duration", required_argument, NULL, 'D' },
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "pairs", required_argument, NULL, OPT_PAIRS },
	{ "shm", required_argument, NULL, OPT_SHM },
	{ "slot", required_argument, NULL, OPT_SLOT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "peer", required_argument, NULL, OPT_PEER },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "netns-fd", required_argument, NULL, OPT_NETNS },
	{ "quiet", no_argument, NULL, 'q' },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

enum action { ACT_RUN, ACT_LIST, ACT_HELP, ACT_VERSION };

/* Options as they were given, before the load's defaults. */
struct given {
	struct load_options options;
	enum action action;
	bool rate, size, pairs, slot, netns;
	int address; /* the option that gave it */
};

static void print_list(void)
{
	for (const struct load *const *at = load_registry; *at; at++) {
		printf("%-10s  %s\n", (*at)->name, (*at)->help);
		printf("            one operation: %s; default rate %" PRIu64 "/s\n", (*at)->unit,
		       (*at)->default_rate);
	}
}

static void print_help(void)
{
	static const char text[] =
"Usage: load NAME [options]\n"
"Disturbs the machine in one way, and counts what it did, second by second.\n"
"\n"
"      --rate N           operations per second; 0: as many as possible\n"
"  -D, --duration T       length in seconds, or with a suffix s m h d (until stopped)\n"
"      --dir DIR          where the disk loads put their files (.)\n"
"      --size BYTES       file, segment or datagram size, or with a suffix K M G\n"
"      --pairs N          sched: pairs of processes, 1 to 16 (8)\n"
"      --peer ADDR:PORT   udp: where udp-peer listens\n"
"      --listen ADDR:PORT udp-peer: port 0 takes a free one, which is printed\n"
"      --netns-fd FD      udp-peer: first enter this network namespace\n"
"      --shm FILE         count in memory shared with the host, ends at its load_stop\n"
"      --slot N           slot there, 0 to 31; udp and udp-peer also use N + 1\n"
"      --json             summary as JSON\n"
"  -q, --quiet            no line per second\n"
"      --list, --help, --version\n"
"\n"
"Exit status: 0 ended as asked; 1 failed; 2 usage.\n"
"\n"
"Examples:\n"
"  load mem --rate 0 -D 60\n"
"  load disk-rw --dir /var/tmp --size 64M --rate 50\n"
"  load udp-peer --listen 127.0.0.1:7777 &  load udp --peer 127.0.0.1:7777 -D 10\n"
"\n"
"Loads:\n";

	fputs(text, stdout);
	print_list();
}

static bool parse_u32(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
	uint64_t number;

	if (!vmj_parse_u64(text, most, &number) || number < least)
		return false;
	*value = (uint32_t)number;
	return true;
}

static bool parse_fd(const char *text, int *fd)
{
	uint64_t number;

	if (!vmj_parse_u64(text, INT_MAX, &number))
		return false;
	*fd = (int)number;
	return true;
}

static bool set_value(struct given *g, int option, const char *text)
{
	struct load_options *o = &g->options;

	switch (option) {
	case OPT_RATE:
		g->rate = true;
		return vmj_parse_u64(text, MOST_RATE, &o->rate);
	case 'D':
		return vmj_parse_time_ns(text, 1000000000, &o->duration_ns) && o->duration_ns &&
		       o->duration_ns <= LONGEST_NS;
	case OPT_SIZE:
		g->size = true;
		return vmj_parse_bytes(text, &o->size);
	case OPT_PAIRS:
		g->pairs = true;
		return parse_u32(text, 1, MOST_PAIRS, &o->pairs);
	case OPT_SLOT:
		g->slot = true;
		return parse_u32(text, 0, VMJ_LOAD_SLOTS - 1, &o->slot);
	case OPT_NETNS:
		g->netns = true;
		return parse_fd(text, &o->netns_fd);
	default: /* OPT_PEER, OPT_LISTEN */
		g->address = option;
		o->address_given = true;
		return vmj_parse_address(text, &o->address, &o->port);
	}
}

static bool set_plain(struct given *g, int option)
{
	switch (option) {
	case 'q':
		g->options.quiet = true;
		return true;
	case OPT_JSON:
		g->options.json = true;
		return true;
	case OPT_DIR:
		g->options.dir = optarg;
		return true;
	case OPT_SHM:
		g->options.shm = optarg;
		return true;
	case OPT_LIST:
		g->action = ACT_LIST;
		return true;
	case OPT_HELP:
		g->action = ACT_HELP;
		return true;
	case OPT_VERSION:
		g->action = ACT_VERSION;
		return true;
	default:
		return false;
	}
}

static int usage(const char *message)
{
	fprintf(stderr, "load: %s; see --help\n", message);
	return VMJ_EXIT_USAGE;
}

static const char *address_conflict(const struct given *g, const struct load *load)
{
	bool peer = load == &load_udp_peer;

	if (peer && g->address != OPT_LISTEN)
		return "udp-peer needs --listen ADDR:PORT";
	if (load == &load_udp && g->address != OPT_PEER)
		return "udp needs --peer ADDR:PORT";
	if (!peer && load != &load_udp && g->address)
		return "--peer and --listen belong to udp and udp-peer";
	if (!peer && g->netns)
		return "--netns-fd belongs to udp-peer";
	return NULL;
}

static const char *conflict(const struct given *g, const struct load *load)
{
	const struct load_options *o = &g->options;

	if (g->size && load->default_size == 0)
		return "this load has no --size";
	if (g->size && (o->size < load->smallest_size || o->size > load->largest_size))
		return "--size is out of range for this load";
	if (g->pairs && load != &load_sched)
		return "--pairs belongs to sched";
	if (!o->shm != !g->slot)
		return "--shm and --slot need each other";
	if (load->slots[1] && o->slot + 1 >= VMJ_LOAD_SLOTS)
		return "this load needs two slots: --slot 0 to 30";
	return address_conflict(g, load);
}

static int settle(struct given *g, const char *name)
{
	const struct load *load = load_find(name);
	const char *fault;

	if (!load) {
		fprintf(stderr, "load: no load named '%s'; see --list\n", name);
		return VMJ_EXIT_USAGE;
	}
	fault = conflict(g, load);
	if (fault)
		return usage(fault);
	g->options.load = load;
	if (!g->rate)
		g->options.rate = load->default_rate;
	if (!g->size)
		g->options.size = load->default_size;
	return 0;
}

static int parse(struct given *g, int argc, char **argv)
{
	int option, which = -1;

	*g = (struct given){ .options = { .dir = ".", .pairs = 8, .netns_fd = -1 } };
	if (!vmj_spelled_out(argc, argv, long_options))
		return VMJ_EXIT_USAGE;
	while ((option = getopt_long(argc, argv, "D:q", long_options, &which)) != -1) {
		if (option == '?')
			return usage("wrong option");
		if (!set_plain(g, option) && !set_value(g, option, optarg)) {
			fprintf(stderr, "load: wrong value '%s' for %s; see --help\n", optarg,
				option < 256 ? "-D" : long_options[which].name);
			return VMJ_EXIT_USAGE;
		}
	}
	if (g->action != ACT_RUN)
		return 0;
	if (optind == argc)
		return usage("which load? (--list)");
	if (optind + 1 < argc)
		return usage("one load at a time");
	return settle(g, argv[optind]);
}

int main(int argc, char **argv)
{
	struct load_run run;
	struct given given;
	int status = parse(&given, argc, argv);

	if (status != 0)
		return status;
	switch (given.action) {
	case ACT_LIST:
		print_list();
		return VMJ_EXIT_OK;
	case ACT_HELP:
		print_help();
		return VMJ_EXIT_OK;
	case ACT_VERSION:
		puts("load (vmjitter) " VMJ_VERSION);
		return VMJ_EXIT_OK;
	case ACT_RUN:
		break;
	}
	return load_run(&run, &given.options);
}
