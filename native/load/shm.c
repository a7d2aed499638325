/* SPDX-License-Identifier: Apache-2.0
 * shm: System V shared memory between two processes.  One operation: attach, write a
 * pattern, detach; the other process attaches, verifies the pattern, detaches, answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "load.h"

struct state {
	int id;
	void *holder; /* keeps the segment alive */
	int to_child[2], from_child[2];
	uint32_t round;
};

static void fill(uint32_t *words, size_t bytes, uint32_t round)
{
	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = round + (uint32_t)i;
}

static int verify(const uint32_t *words, size_t bytes, uint32_t round)
{
	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		if (words[i] != round + (uint32_t)i)
			return 0;
	return 1;
}

/* In the helper: for every round number that comes, attaches, verifies and answers 1 or 0. */
static int check_rounds(struct load_run *run)
{
	struct state *s = run->state;
	uint32_t round;

	while (load_read(run, s->to_child[0], &round, sizeof(round)) == 1) {
		uint32_t *words = shmat(s->id, NULL, SHM_RDONLY);
		unsigned char good = 0;

		if (words != (void *)-1) {
			good = (unsigned char)verify(words, (size_t)run->options->size, round);
			shmdt(words);
		}
		if (load_write(run, s->from_child[1], &good, 1) != 1)
			break;
	}
	return 0;
}

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->id = shmget(IPC_PRIVATE, (size_t)run->options->size, IPC_CREAT | 0600);
	if (s->id < 0)
		return load_fail(run, "shmget of %llu bytes: %s",
				 (unsigned long long)run->options->size, strerror(errno));
	/* Linux lets a segment be attached that is marked for removal (shmctl(2), NOTES), so
	 * the kernel removes it with its last process, even after SIGKILL. */
	s->holder = shmat(s->id, NULL, 0);
	shmctl(s->id, IPC_RMID, NULL);
	if (s->holder == (void *)-1)
		return load_fail(run, "shmat: %s", strerror(errno));
	if (pipe(s->to_child) != 0 || pipe(s->from_child) != 0)
		return load_fail(run, "pipe: %s", strerror(errno));
	return load_fork(run, check_rounds);
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	unsigned char good = 0;
	uint32_t *words = shmat(s->id, NULL, 0);
	int answer;

	if (words == (void *)-1)
		return load_fail(run, "shmat: %s", strerror(errno));
	fill(words, (size_t)run->options->size, ++s->round);
	shmdt(words);
	answer = load_write(run, s->to_child[1], &s->round, sizeof(s->round));
	if (answer == 1)
		answer = load_read(run, s->from_child[0], &good, 1);
	if (answer != 1)
		return answer;
	if (!good)
		return load_fail(run, "the other process read something else than was written");
	return 1;
}

static void tear_down(struct load_run *run)
{
	free(run->state); /* pipes and attachments go with the process */
}

const struct load load_shm = {
	.name = "shm",
	.help = "System V shared memory between two processes; --size of the segment (64K)",
	.unit = "attach and verify",
	.slots = { "shm" },
	.default_rate = 200,
	.default_size = 64 << 10,
	.smallest_size = 4,
	.largest_size = 1 << 30,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
