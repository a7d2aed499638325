/* SPDX-License-Identifier: Apache-2.0
 * disk-sync: forced writes.  One operation: write of 4 KiB, then fsync.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "disk_file.h"

#define BLOCK ((size_t)4 << 10)

struct state {
	struct load_file file;
	uint64_t next;
};

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->file.fd = -1;
	return load_file_open(run, &s->file, BLOCK, false);
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	off_t at = (off_t)(s->next * BLOCK);
	ssize_t done = pwrite(s->file.fd, s->file.block, BLOCK, at);

	if (done != (ssize_t)BLOCK) {
		if (done >= 0)
			errno = ENOSPC;
		return load_file_fail(run, s->file.path, "write");
	}
	if (fsync(s->file.fd) != 0)
		return load_file_fail(run, s->file.path, "fsync");
	s->next = (s->next + 1) % (run->options->size / BLOCK);
	return 1;
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (s)
		load_file_close(&s->file);
	free(s);
}

const struct load load_disk_sync = {
	.name = "disk-sync",
	.help = "small writes, each forced to disk; --dir, --size of the file (1M)",
	.unit = "4 KiB write and fsync",
	.slots = { "disk-sync" },
	.default_rate = 10,
	.default_size = 1 << 20,
	.smallest_size = BLOCK,
	.largest_size = UINT64_C(1) << 40,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
