/* SPDX-License-Identifier: Apache-2.0
 * Command line of the probe.
 */
#ifndef PROBE_OPTIONS_H
#define PROBE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_DEFAULT_PRIORITY 80

enum probe_action { PROBE_MEASURE, PROBE_HELP, PROBE_VERSION, PROBE_LAYOUT };

struct probe_options {
	enum probe_action action;
	uint64_t interval_ns;
	uint64_t loops;        /* activations; 0: no end (shared memory only) */
	uint64_t duration_ns;
	uint64_t warm_up_ns;
	uint64_t break_ns;     /* 0: no --breaktrace */
	uint64_t histogram_us; /* number of buckets; 0: no histogram */
	uint64_t affinity;     /* 0: left as it is */
	int policy;
	int priority;
	bool loops_given;
	bool priority_given;
	bool lock_memory;
	bool quiet;
	bool json;
	const char *raw;
	const char *histfile;
	const char *shm;
};

/* Returns 0, or VMJ_EXIT_USAGE after saying on stderr what is wrong. */
int probe_parse_options(struct probe_options *options, int argc, char **argv);
void probe_print_help(void);

#endif
