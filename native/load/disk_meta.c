/* SPDX-License-Identifier: Apache-2.0
 * disk-meta: file create and delete.  One operation: create, write 512 bytes, close, unlink;
 * the directory is forced to disk every 32 operations.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_file.h"

#define OPS_PER_SYNC 32u
#define FILE_BYTES 512u

struct state {
	char directory[PATH_MAX];
	char path[PATH_MAX + 32];
	int fd;
	uint32_t number;
};

static int set_up(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->fd = -1;
	snprintf(s->directory, sizeof(s->directory), "%s/vmjitter-disk-meta.%ld",
		 run->options->dir, (long)getpid());
	if (mkdir(s->directory, 0700) != 0)
		return load_file_fail(run, s->directory, "mkdir");
	s->fd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->fd >= 0 ? 0 : load_file_fail(run, s->directory, "open");
}

static int write_file(struct load_run *run, struct state *s)
{
	char content[FILE_BYTES];
	int fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t done;

	if (fd < 0)
		return load_file_fail(run, s->path, "create");
	memset(content, 'v', sizeof(content));
	done = write(fd, content, sizeof(content));
	if (close(fd) == 0 && done == (ssize_t)sizeof(content))
		return 0;
	if (done >= 0)
		errno = ENOSPC;
	load_file_fail(run, s->path, "write");
	unlink(s->path);
	return -1;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;

	snprintf(s->path, sizeof(s->path), "%s/%u", s->directory, ++s->number);
	if (write_file(run, s) != 0)
		return -1;
	if (unlink(s->path) != 0)
		return load_file_fail(run, s->path, "unlink");
	if (s->number % OPS_PER_SYNC == 0 && fsync(s->fd) != 0)
		return load_file_fail(run, s->directory, "fsync");
	return 1;
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (s && s->fd >= 0) {
		close(s->fd);
		rmdir(s->directory);
	}
	free(s);
}

const struct load load_disk_meta = {
	.name = "disk-meta",
	.help = "files created and deleted; --dir",
	.unit = "create and delete",
	.slots = { "disk-meta" },
	.default_rate = 20,
	.set_up = set_up,
	.op = op,
	.tear_down = tear_down,
};
