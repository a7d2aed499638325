/* SPDX-License-Identifier: Apache-2.0
 * sched: scheduler load.  Pairs of processes pass tokens through pipes, as in hackbench.
 * One operation: a token's way from here through both processes of a pair and back.  All
 * pairs get their tokens at once, so that many processes are runnable together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

/* here -> first -> second -> here */
struct pair {
	int to_first[2], to_second[2], back[2];
};

struct state {
	struct pair pairs[LOAD_MAX_CHILDREN / 2];
	uint32_t forking; /* pair whose process is being started */
	uint32_t waiting; /* tokens on their way: pairs 0 to waiting - 1 */
};

static int forward(struct load_run *run, int from, int to)
{
	char token;

	while (load_read(run, from, &token, 1) == 1 && load_write(run, to, &token, 1) == 1)
		;
	return 0;
}

static int be_first(struct load_run *run)
{
	struct state *s = run->state;
	struct pair *p = &s->pairs[s->forking];

	return forward(run, p->to_first[0], p->to_second[1]);
}

static int be_second(struct load_run *run)
{
	struct state *s = run->state;
	struct pair *p = &s->pairs[s->forking];

	return forward(run, p->to_second[0], p->back[1]);
}

static int start_pair(struct load_run *run, uint32_t i)
{
	struct state *s = run->state;
	struct pair *p = &s->pairs[i];

	s->forking = i;
	if (pipe(p->to_first) != 0 || pipe(p->to_second) != 0 || pipe(p->back) != 0)
		return load_fail(run, "pipe: %s", strerror(errno));
	return load_fork(run, be_first) != 0 ? -1 : load_fork(run, be_second);
}

static int set_up(struct load_run *run)
{
	run->state = calloc(1, sizeof(struct state));
	if (!run->state)
		return load_fail(run, "no memory");
	for (uint32_t i = 0; i < run->options->pairs; i++)
		if (start_pair(run, i) != 0)
			return -1;
	return 0;
}

static int send_tokens(struct load_run *run, struct state *s)
{
	for (; s->waiting < run->options->pairs; s->waiting++) {
		int sent = load_write(run, s->pairs[s->waiting].to_first[1], "t", 1);

		if (sent != 1)
			return sent;
	}
	return 1;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	int verdict = s->waiting ? 1 : send_tokens(run, s);
	char token;

	if (verdict == 1)
		verdict = load_read(run, s->pairs[s->waiting - 1].back[0], &token, 1);
	if (verdict == 1)
		s->waiting--;
	return verdict;
}

static void tear_down(struct load_run *run)
{
	free(run->state);
}

const struct load load_sched = {
	.name = "sched",
	.help = "pairs of processes passing tokens through pipes; --pairs (8)",
	.unit = "round trip",
	.slots = { "sched" },
	.default_rate = 300,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
