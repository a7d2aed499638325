/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

void probe_loop_catch_signals(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal; /* without SA_RESTART: the sleep ends with EINTR */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool probe_loop_interrupted(void)
{
	return interrupted != 0;
}

void probe_loop_start(struct probe_loop *l, struct timespec t0)
{
	l->next = t0;
	l->k = 0;
	l->overruns = 0;
	l->min_ns = INT64_MAX;
	l->max_ns = INT64_MIN;
	l->last_ns = 0;
	l->sum_ns = 0;
	l->broke = false;
}

void probe_loop_run(struct probe_loop *l)
{
	while (l->k < l->limit && !l->broke) {
		struct timespec now;
		uint64_t tsc;
		int ended = vmj_sleep_until(l->next);

		now = vmj_now();
		tsc = vmj_tsc();
		if (interrupted || *(const volatile uint32_t *)l->stop)
			return;
		if (ended == 0)
			probe_loop_wake(l, now, tsc);
	}
}

void probe_loop_warm_up(struct timespec first, struct timespec period, uint64_t activations)
{
	for (uint64_t i = 0; i < activations && !interrupted; i++) {
		vmj_sleep_until(first);
		vmj_now();
		vmj_tsc();
		vmj_timespec_add(&first, period);
	}
}
