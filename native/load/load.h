/* SPDX-License-Identifier: Apache-2.0
 * What a load is, and what the runner offers to it.
 */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm.h"

#define LOAD_DIRECTIONS 2u /* slots that one load may fill */
#define LOAD_MAX_CHILDREN 32u

struct load;

struct load_options {
	const struct load *load;
	uint64_t rate;        /* operations per second; 0: as many as possible */
	uint64_t duration_ns; /* 0: until stopped */
	const char *dir;
	uint64_t size;        /* bytes; its meaning is the load's */
	uint32_t pairs;
	const char *shm;
	uint32_t slot;
	bool quiet;
	bool json;
	uint32_t address;     /* of --peer or --listen */
	uint16_t port;
	bool address_given;
	int netns_fd;         /* -1: stay in this network namespace */
};

/* One counted direction of a load. */
struct load_counter {
	struct vmj_load_slot *slot;
	uint64_t total; /* operations, not modulo anything */
	uint32_t in_second;
};

struct load_run {
	const struct load_options *options;
	void *state; /* the load's own, from set_up to tear_down */
	struct vmj_shm shm;
	const struct vmj_control *control; /* NULL without --shm */
	struct load_counter counters[LOAD_DIRECTIONS];
	uint32_t second;
	uint64_t start_ns;
	uint64_t second_end_ns;
	pid_t children[LOAD_MAX_CHILDREN];
	uint32_t child_count;
	char message[168];
};

/* A member of the family; load/NAME.c defines one or two of them. */
struct load {
	const char *name;
	const char *help;
	const char *unit;              /* what one operation is */
	const char *slots[LOAD_DIRECTIONS]; /* names of its slots */
	uint64_t default_rate;
	uint64_t default_size;         /* 0: --size means nothing */
	uint64_t smallest_size;
	uint64_t largest_size;
	bool paces_itself;             /* op waits until there is something to do */
	/* All optional but op.  0, or -1 after load_fail. */
	int (*set_up)(struct load_run *run);
	/* Does one operation.  Returns how many to count for slot 0, or -1 after load_fail. */
	int (*op)(struct load_run *run);
	/* Waits until the time given, at most; NULL: sleeps. */
	void (*wait)(struct load_run *run, uint64_t until_ns);
	void (*tear_down)(struct load_run *run);
};

extern const struct load load_shm, load_mem, load_sched, load_timer, load_sem, load_cpu,
	load_disk_rw, load_disk_sync, load_disk_meta, load_udp, load_udp_peer;

/* NULL-terminated, in the order of --list. */
extern const struct load *const load_registry[];
const struct load *load_find(const char *name);

/* Keeps the reason; always returns -1. */
int load_fail(struct load_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Books finished operations of one direction, in the second that is now. */
void load_count(struct load_run *run, uint32_t direction, uint32_t operations);
void load_count_error(struct load_run *run, uint32_t direction);

/* Whether the load shall end: signal or load_stop. */
bool load_stopping(const struct load_run *run);

/* Starts a helper process that runs body(run) and dies with this one.  0 or -1. */
int load_fork(struct load_run *run, int (*body)(struct load_run *run));

/* Reads or writes exactly `bytes`.  1: done; 0: the load is to end; -1 after load_fail. */
int load_read(struct load_run *run, int fd, void *to, size_t bytes);
int load_write(struct load_run *run, int fd, const void *from, size_t bytes);

/* xorshift64: quick, good enough to choose blocks. */
uint64_t load_random(uint64_t *state);

#endif
