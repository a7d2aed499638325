/* SPDX-License-Identifier: Apache-2.0
 * mem: memory access.  One operation: copy of a 256 KiB block between pseudo-random places
 * of a buffer larger than most caches.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define BLOCK ((size_t)256 << 10)
#define LINE 64u

struct state {
	uint8_t *buffer;
	uint64_t random;
};

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->random = 88172645463325252u; /* any value but 0 */
	s->buffer = malloc((size_t)run->options->size);
	if (!s->buffer)
		return load_fail(run, "no memory for a buffer of %llu bytes",
				 (unsigned long long)run->options->size);
	memset(s->buffer, 0x5a, (size_t)run->options->size);
	return 0;
}

/* Start of a block in one half of the buffer, so that source and target never overlap. */
static uint8_t *place(struct state *s, size_t half)
{
	size_t lines = (half - BLOCK) / LINE + 1;

	return s->buffer + (size_t)(load_random(&s->random) % lines) * LINE;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	size_t half = (size_t)run->options->size / 2;
	uint8_t *low = place(s, half);
	uint8_t *high = place(s, half) + half;

	if (load_random(&s->random) & 1)
		memcpy(low, high, BLOCK);
	else
		memcpy(high, low, BLOCK);
	return 1;
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (s)
		free(s->buffer);
	free(s);
}

const struct load load_mem = {
	.name = "mem",
	.help = "memory access at pseudo-random places; --size of the buffer (32M)",
	.unit = "256 KiB copy",
	.slots = { "mem" },
	.default_rate = 50,
	.default_size = 32 << 20,
	.smallest_size = 2 * BLOCK,
	.largest_size = 1 << 30,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
