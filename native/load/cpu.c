/* SPDX-License-Identifier: Apache-2.0
 * cpu: arithmetic, nothing else.  One operation: a burst of 100000 steps of a xorshift
 * generator, each of which needs the result of the one before, so that neither the compiler
 * nor the processor can leave any out or do them side by side.  32 bits wide, so that a step is
 * the same on i386 and x86-64.
 *
 * Steps: G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003,
 * section 3, with the shifts 13, 17, 5.
 */
#include <stdlib.h>

#include "load.h"

#define STEPS 100000u

struct state {
	uint32_t value;
};

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	s->value = 2463534242u; /* any value but 0, which would stay 0 */
	run->state = s;
	return 0;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	uint32_t value = s->value;

	for (uint32_t i = 0; i < STEPS; i++) {
		value ^= value << 13;
		value ^= value >> 17;
		value ^= value << 5;
	}
	s->value = value; /* used by the next burst: the work has a result */
	return 1;
}

static void tear_down(struct load_run *run)
{
	free(run->state);
}

const struct load load_cpu = {
	.name = "cpu",
	.help = "arithmetic in short bursts; --rate 0 wants a whole CPU",
	.unit = "100000 arithmetic steps",
	.slots = { "cpu" },
	.default_rate = 100,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
