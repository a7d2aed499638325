/* SPDX-License-Identifier: Apache-2.0
 * The timed loop and its bookkeeping.
 */
#ifndef PROBE_LOOP_H
#define PROBE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "clock.h"
#include "shm.h"

struct probe_loop {
	/* Set before the run. */
	volatile struct vmj_sample *ring; /* volatile: every record is stored exactly once */
	uint64_t mask;                    /* record k stands at index k & mask */
	uint64_t limit;                   /* activations to take */
	int64_t break_ns;                 /* INT64_MAX: no limit */
	struct timespec period;
	struct vmj_probe_result *live;    /* `written` and `overruns` are published here */
	const uint32_t *stop;             /* another side's wish to end */
	/* The run's state. */
	struct timespec next; /* planned time of activation k */
	uint64_t k;
	uint64_t overruns;
	int64_t min_ns;
	int64_t max_ns;
	int64_t last_ns;
	int64_t sum_ns;
	bool broke; /* a latency above break_ns */
};

static inline void probe_loop_put(struct probe_loop *l, int64_t latency_ns, uint64_t tsc)
{
	volatile struct vmj_sample *at = &l->ring[l->k & l->mask];

	at->latency_ns = latency_ns;
	at->tsc = tsc;
	l->k++;
	vmj_timespec_add(&l->next, l->period);
}

/* Books one wake-up: its record, then one record for every activation that has passed by
 * now.  Separate from the loop so that tests can feed it times of their own. */
static inline void probe_loop_wake(struct probe_loop *l, struct timespec now, uint64_t tsc)
{
	int64_t latency_ns = vmj_timespec_diff(now, l->next);

	probe_loop_put(l, latency_ns, tsc);
	l->last_ns = latency_ns;
	l->sum_ns += latency_ns;
	l->min_ns = latency_ns < l->min_ns ? latency_ns : l->min_ns;
	l->max_ns = latency_ns > l->max_ns ? latency_ns : l->max_ns;
	l->broke = latency_ns > l->break_ns;
	while (l->k < l->limit && vmj_timespec_diff(now, l->next) >= 0) {
		probe_loop_put(l, VMJ_MISSED, 0);
		l->overruns++;
	}
	l->live->overruns = (uint32_t)l->overruns;
	vmj_store_release(&l->live->written, (uint32_t)l->k);
}

/* Prepares the state; t0 is the planned time of activation 0. */
void probe_loop_start(struct probe_loop *l, struct timespec t0);

/* Wakes up once per period until the limit, *stop, a signal or break_ns. */
void probe_loop_run(struct probe_loop *l);

/* The same wake-ups, unrecorded, for `activations` periods from `first` on. */
void probe_loop_warm_up(struct timespec first, struct timespec period, uint64_t activations);

/* SIGINT and SIGTERM end loop and warm-up. */
void probe_loop_catch_signals(void);
bool probe_loop_interrupted(void);

#endif
