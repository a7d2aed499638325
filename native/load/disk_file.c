/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_DIRECT */
#endif
#include "disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT 4096u /* covers every logical block size in use (open(2), O_DIRECT) */

int load_file_fail(struct load_run *run, const char *path, const char *what)
{
	int error = errno;

	/* The end of a long path tells more than its beginning. */
	if (strlen(path) > 90)
		path += strlen(path) - 90;
	return load_fail(run, "%s: %s: %s", path, what, strerror(error));
}

static int set_direct(struct load_file *file, bool on)
{
	int flags = fcntl(file->fd, F_GETFL);

	return fcntl(file->fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static ssize_t transfer(struct load_file *file, bool write, uint64_t block)
{
	off_t at = (off_t)(block * file->block_bytes);

	return write ? pwrite(file->fd, file->block, file->block_bytes, at)
		     : pread(file->fd, file->block, file->block_bytes, at);
}

/* A transfer with O_DIRECT may be refused although open(2) took the flag; then the file is
 * used through the page cache, which is flushed or dropped for each block. */
static int whole_transfer(struct load_run *run, struct load_file *file, bool write, uint64_t block)
{
	ssize_t done = transfer(file, write, block);

	if (done < 0 && errno == EINVAL && file->direct) {
		file->direct = false;
		set_direct(file, false);
		done = transfer(file, write, block);
	}
	if (done == (ssize_t)file->block_bytes)
		return 0;
	if (done >= 0)
		errno = write ? ENOSPC : EIO;
	return load_file_fail(run, file->path, write ? "write" : "read");
}

int load_file_write(struct load_run *run, struct load_file *file, uint64_t block)
{
	if (whole_transfer(run, file, true, block) != 0)
		return -1;
	if (!file->direct && fdatasync(file->fd) != 0)
		return load_file_fail(run, file->path, "fdatasync");
	return 0;
}

int load_file_read(struct load_run *run, struct load_file *file, uint64_t block)
{
	if (!file->direct)
		posix_fadvise(file->fd, (off_t)(block * file->block_bytes),
			      (off_t)file->block_bytes, POSIX_FADV_DONTNEED);
	return whole_transfer(run, file, false, block);
}

static int create(struct load_run *run, struct load_file *file)
{
	void *block = NULL;

	snprintf(file->path, sizeof(file->path), "%s/vmjitter-%s.%ld", run->options->dir,
		 run->options->load->name, (long)getpid());
	if (posix_memalign(&block, ALIGNMENT, file->block_bytes) != 0)
		return load_fail(run, "no memory");
	memset(block, 0xa5, file->block_bytes);
	file->block = block;
	file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return file->fd >= 0 ? 0 : load_file_fail(run, file->path, "create");
}

static int fill(struct load_run *run, struct load_file *file)
{
	for (uint64_t i = 0; i < run->options->size / file->block_bytes; i++) {
		if (load_stopping(run))
			return load_fail(run, "stopped during set-up");
		if (whole_transfer(run, file, true, i) != 0)
			return -1;
	}
	return fsync(file->fd) == 0 ? 0 : load_file_fail(run, file->path, "fsync");
}

int load_file_open(struct load_run *run, struct load_file *file, size_t block_bytes,
		   bool wants_direct)
{
	file->fd = -1;
	file->block_bytes = block_bytes;
	if (create(run, file) != 0)
		return -1;
	/* EINVAL from a file system without direct I/O (open(2)). */
	file->direct = wants_direct && set_direct(file, true) == 0;
	return fill(run, file);
}

void load_file_close(struct load_file *file)
{
	if (file->fd >= 0) {
		unlink(file->path);
		close(file->fd);
	}
	free(file->block);
}
