/* SPDX-License-Identifier: Apache-2.0
 * Scheduling of the calling thread: set, and read back.
 *
 * Raw system calls, because musl's sched_setscheduler, sched_getscheduler and
 * sched_setparam are stubs that return ENOSYS (musl, src/sched/sched_setscheduler.c: POSIX
 * means the process, Linux the thread).
 */
#ifndef VMJ_SCHED_H
#define VMJ_SCHED_H

#include <stdint.h>

struct vmj_sched {
	int32_t policy;
	int32_t priority;
	uint64_t affinity; /* first 64 CPUs */
};

/* 0 or errno. */
int vmj_set_policy(int policy, int priority);
int vmj_set_affinity(uint64_t mask);
int vmj_get_sched(struct vmj_sched *now);

const char *vmj_policy_name(int32_t policy);

/* Locks all present and future memory; 0 or errno. */
int vmj_lock_memory(void);

/* Touches the stack that the timed path may use, so that it causes no page fault there. */
void vmj_prefault_stack(void);

/* The calling process dies when its parent does.  -1 if the parent is gone already. */
int vmj_die_with_parent(int32_t parent);

#endif
