/* SPDX-License-Identifier: Apache-2.0
 * Takes the wall clock away from Bochs, when preloaded into it.
 *
 * With "clock: sync=none" nothing that the simulated machine can see is bound to real time, but a timer
 * that serves such devices still runs ("Null Timer #2", iodev/virt_timer.cc), at moments that follow
 * the wall clock.  Each of them ends a run of instructions early, and with several CPUs that changes whose
 * turn it is: two runs of the same machine part within milliseconds of its start.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

#define STANDS_STILL_AT 1000000000

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	(void)zone;
	now->tv_sec = STANDS_STILL_AT;
	now->tv_usec = 0;
	return 0;
}

time_t time(time_t *now)
{
	if (now)
		*now = STANDS_STILL_AT;
	return STANDS_STILL_AT;
}
