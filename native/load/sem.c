/* SPDX-License-Identifier: Apache-2.0
 * sem: System V semaphore, acquired and released by two processes that want it at the same
 * time.  One operation: acquire and release here, while the other process waits for it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* semtimedop */
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { MUTEX, GO, SEMAPHORES };

struct state {
	int id;
};

/* The fourth argument of semctl, which the caller has to define (semctl(2)). */
union value {
	int number;
	void *pointer;
};

static int change(int id, unsigned short which, short by)
{
	struct sembuf action = {
		.sem_num = which,
		.sem_op = by,
		/* A killed holder gives the mutex back. */
		.sem_flg = which == MUTEX ? SEM_UNDO : 0,
	};

	return semop(id, &action, 1);
}

/* Takes the mutex, lets the other process run into it, and gives it back. */
static int hold(int id)
{
	if (change(id, MUTEX, -1) != 0)
		return -1;
	sched_yield();
	return change(id, MUTEX, 1);
}

static void on_orphaned(int number)
{
	(void)number; /* only there so that semop ends with EINTR */
}

/* Semaphores outlive their processes.  So the helper, when its parent is killed, gets a
 * signal that lets it remove them. */
static void expect_orphaning(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_orphaned;
	sigaction(SIGHUP, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGHUP);
}

/* Waits for the parent's go, not for ever: the signal may come just before the wait. */
static bool await_go(int id)
{
	struct sembuf action = { .sem_num = GO, .sem_op = -1, .sem_flg = 0 };
	struct timespec at_most = { 1, 0 };

	return semtimedop(id, &action, 1, &at_most) == 0;
}

static int contend(struct load_run *run)
{
	struct state *s = run->state;
	pid_t parent = getppid();

	expect_orphaning();
	while (getppid() == parent)
		if (await_go(s->id) ? hold(s->id) != 0 : errno != EAGAIN && errno != EINTR)
			break;
	if (getppid() != parent)
		semctl(s->id, 0, IPC_RMID);
	return 0;
}

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));
	union value one = { .number = 1 };

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->id = semget(IPC_PRIVATE, SEMAPHORES, IPC_CREAT | 0600); /* values 0 on Linux */
	if (s->id < 0)
		return load_fail(run, "semget: %s", strerror(errno));
	/* Not by semop with SEM_UNDO: our end would take the mutex away from the helper. */
	if (semctl(s->id, MUTEX, SETVAL, one) != 0)
		return load_fail(run, "semctl: %s", strerror(errno));
	return load_fork(run, contend);
}

static int op(struct load_run *run)
{
	struct state *s = run->state;

	if (change(s->id, GO, 1) == 0 && hold(s->id) == 0)
		return 1;
	if (errno == EINTR)
		return 0;
	return load_fail(run, "semop: %s", strerror(errno));
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (s && s->id >= 0)
		semctl(s->id, 0, IPC_RMID);
	free(s);
}

const struct load load_sem = {
	.name = "sem",
	.help = "System V semaphore contended by two processes",
	.unit = "acquire and release",
	.slots = { "sem" },
	.default_rate = 500,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
