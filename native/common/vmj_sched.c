/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "vmj_sched.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES 65536

int vmj_set_policy(int policy, int priority)
{
	/* The kernel's struct has this one member (linux/sched/types.h); musl's has more. */
	int param = policy == SCHED_OTHER ? 0 : priority;

	return syscall(SYS_sched_setscheduler, 0, policy, &param) == 0 ? 0 : errno;
}

int vmj_set_affinity(uint64_t mask)
{
	unsigned long words[64 / (8 * sizeof(unsigned long))];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = (unsigned long)(mask >> (i * 8 * sizeof(words[0])));
	return syscall(SYS_sched_setaffinity, 0, sizeof(words), words) == 0 ? 0 : errno;
}

static int get_affinity(uint64_t *mask)
{
	/* Room for 8192 CPUs: the call fails when the kernel's mask does not fit. */
	unsigned long words[8192 / (8 * sizeof(unsigned long))];

	memset(words, 0, sizeof(words));
	if (syscall(SYS_sched_getaffinity, 0, sizeof(words), words) < 0)
		return errno;
	*mask = 0;
	for (size_t i = 0; i < 8 / sizeof(words[0]); i++)
		*mask |= (uint64_t)words[i] << (i * 8 * sizeof(words[0]));
	return 0;
}

int vmj_get_sched(struct vmj_sched *now)
{
	int param = 0;
	long policy = syscall(SYS_sched_getscheduler, 0);

	if (policy < 0 || syscall(SYS_sched_getparam, 0, &param) != 0)
		return errno;
	now->policy = (int32_t)policy;
	now->priority = param;
	return get_affinity(&now->affinity);
}

const char *vmj_policy_name(int32_t policy)
{
	switch (policy) {
	case SCHED_OTHER:
		return "other";
	case SCHED_FIFO:
		return "fifo";
	case SCHED_RR:
		return "rr";
	default:
		return "unknown";
	}
}

int vmj_lock_memory(void)
{
	return mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno;
}

void vmj_prefault_stack(void)
{
	volatile unsigned char stack[STACK_BYTES];

	for (size_t i = 0; i < sizeof(stack); i += 1024)
		stack[i] = 0;
}

int vmj_die_with_parent(int32_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return -1;
	/* The parent may have died before prctl; then the signal never comes (prctl(2)). */
	return getppid() == parent ? 0 : -1;
}
