/* SPDX-License-Identifier: Apache-2.0
 * timer: timer interrupts.  Several POSIX interval timers expire in turn; one operation: one
 * expiry.  --rate is the total of all timers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "load.h"

#define TIMERS 4u
#define FASTEST_RATE UINT64_C(20000) /* what --rate 0 means here */

struct state {
	timer_t timers[TIMERS];
	uint32_t created;
	sigset_t signals;
};

static int start_timer(struct load_run *run, uint32_t i, uint64_t first_ns, uint64_t interval_ns)
{
	struct state *s = run->state;
	struct itimerspec when = {
		.it_value = vmj_ns_timespec(first_ns),
		.it_interval = vmj_ns_timespec(interval_ns),
	};
	struct sigevent event;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGRTMIN;
	if (timer_create(CLOCK_MONOTONIC, &event, &s->timers[i]) != 0)
		return load_fail(run, "timer_create: %s", strerror(errno));
	s->created++;
	if (timer_settime(s->timers[i], TIMER_ABSTIME, &when, NULL) != 0)
		return load_fail(run, "timer_settime: %s", strerror(errno));
	return 0;
}

static int set_up(struct load_run *run)
{
	uint64_t rate = run->options->rate ? run->options->rate : FASTEST_RATE;
	uint64_t interval_ns = TIMERS * (uint64_t)VMJ_NSEC_PER_SEC / rate;
	uint64_t now_ns = vmj_now_ns();
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &s->signals, NULL);
	/* Evenly spread: timer i starts i / TIMERS of an interval later. */
	for (uint32_t i = 0; i < TIMERS; i++)
		if (start_timer(run, i, now_ns + interval_ns * (i + 1) / TIMERS, interval_ns) != 0)
			return -1;
	return 0;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	/* Comes back now and then without a signal, for the end and the seconds. */
	struct timespec at_most = { 0, 100000000 };
	siginfo_t info;

	if (sigtimedwait(&s->signals, &info, &at_most) > 0)
		/* Expiries while the signal was pending are counted in it (timer_getoverrun(2)). */
		return 1 + (info.si_overrun > 0 ? info.si_overrun : 0);
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return load_fail(run, "sigtimedwait: %s", strerror(errno));
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	for (uint32_t i = 0; s && i < s->created; i++)
		timer_delete(s->timers[i]);
	free(s);
}

const struct load load_timer = {
	.name = "timer",
	.help = "POSIX interval timers",
	.unit = "expiry",
	.slots = { "timer" },
	.default_rate = 200,
	.paces_itself = true,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
