/* SPDX-License-Identifier: Apache-2.0
 * sem: System V semaphore, acquired and released by two processes that want it at the same
 * time.  One operation: acquire and release here, while the other process waits for it.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include "load.h"

enum { MUTEX, GO, SEMAPHORES };

struct state {
	int id;
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

static int contend(struct load_run *run)
{
	struct state *s = run->state;

	while (change(s->id, GO, -1) == 0 && hold(s->id) == 0)
		;
	return 0;
}

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->id = semget(IPC_PRIVATE, SEMAPHORES, IPC_CREAT | 0600); /* values 0 on Linux */
	if (s->id < 0)
		return load_fail(run, "semget: %s", strerror(errno));
	if (change(s->id, MUTEX, 1) != 0)
		return load_fail(run, "semop: %s", strerror(errno));
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
