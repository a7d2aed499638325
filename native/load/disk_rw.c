/* SPDX-License-Identifier: Apache-2.0
 * disk-rw: reads and writes in turn, 64 KiB each, at pseudo-random places of a file, past
 * the page cache.  One operation: one block.
 */
#include <stdlib.h>

#include "disk_file.h"

#define BLOCK ((size_t)64 << 10)

struct state {
	struct load_file file;
	uint64_t random;
	bool write_next;
};

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->random = 88172645463325252u; /* any value but 0 */
	s->file.fd = -1;
	return load_file_open(run, &s->file, BLOCK, true);
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	uint64_t block = load_random(&s->random) % (run->options->size / BLOCK);
	int failed;

	s->write_next = !s->write_next;
	failed = s->write_next ? load_file_write(run, &s->file, block)
			       : load_file_read(run, &s->file, block);
	return failed ? -1 : 1;
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (s)
		load_file_close(&s->file);
	free(s);
}

const struct load load_disk_rw = {
	.name = "disk-rw",
	.help = "reads and writes past the page cache; --dir, --size of the file (8M)",
	.unit = "64 KiB block",
	.slots = { "disk-rw" },
	.default_rate = 20,
	.default_size = 8 << 20,
	.smallest_size = BLOCK,
	.largest_size = UINT64_C(1) << 40,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
