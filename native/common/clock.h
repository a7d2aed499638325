/* SPDX-License-Identifier: Apache-2.0
 * Time: the one clock of all three programs (CLOCK_MONOTONIC) and the TSC.
 */
#ifndef VMJ_CLOCK_H
#define VMJ_CLOCK_H

#include <stdint.h>
#include <time.h>

#define VMJ_NSEC_PER_SEC 1000000000L

/* A clock reading and the TSC that belongs to it. */
struct vmj_clock_pair {
	uint64_t ns;
	uint64_t tsc;
};

/* Raw TSC; 0 on machines without one.
 *
 * No lfence: RDTSC waits for nothing, so it may be executed some instructions early or late
 * (Intel SDM vol. 2B, RDTSC), which is tens of nanoseconds.  The TSC only places a wake-up
 * on the time axis of a trace, whose events lie microseconds apart; the latency itself comes
 * from the clock.  A fence would stall the timed path for nothing. */
static inline uint64_t vmj_tsc(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
}

static inline uint64_t vmj_timespec_ns(struct timespec t)
{
	return (uint64_t)t.tv_sec * (uint64_t)VMJ_NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline struct timespec vmj_ns_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / (uint64_t)VMJ_NSEC_PER_SEC),
		.tv_nsec = (long)(ns % (uint64_t)VMJ_NSEC_PER_SEC),
	};
}

/* a - b in nanoseconds: one multiplication, no division. */
static inline int64_t vmj_timespec_diff(struct timespec a, struct timespec b)
{
	return ((int64_t)a.tv_sec - (int64_t)b.tv_sec) * VMJ_NSEC_PER_SEC + (a.tv_nsec - b.tv_nsec);
}

/* *t += step, both normalised: add and carry, no division. */
static inline void vmj_timespec_add(struct timespec *t, struct timespec step)
{
	t->tv_sec += step.tv_sec;
	t->tv_nsec += step.tv_nsec;
	if (t->tv_nsec >= VMJ_NSEC_PER_SEC) {
		t->tv_nsec -= VMJ_NSEC_PER_SEC;
		t->tv_sec++;
	}
}

static inline struct timespec vmj_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t;
}

static inline uint64_t vmj_now_ns(void)
{
	return vmj_timespec_ns(vmj_now());
}

/* Sleeps until the clock shows `until`; returns 0 or EINTR as clock_nanosleep does. */
static inline int vmj_sleep_until(struct timespec until)
{
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Clock and TSC read together, the tightest of a few attempts. */
struct vmj_clock_pair vmj_clock_pair(void);

/* TSC frequency from two pairs; 0 without a TSC or without elapsed time. */
uint64_t vmj_tsc_hz(struct vmj_clock_pair first, struct vmj_clock_pair last);

/* Smallest difference of two consecutive clock readings, in nanoseconds. */
uint64_t vmj_clock_cost_ns(void);

/* clock_getres of the clock, in nanoseconds. */
uint64_t vmj_clock_resolution_ns(void);

/* The kernel's current clocksource, "" if it cannot be read. */
void vmj_clocksource(char *name, uint32_t size);

#endif
