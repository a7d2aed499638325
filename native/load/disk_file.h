/* SPDX-License-Identifier: Apache-2.0
 * The file that disk-rw and disk-sync work on.
 */
#ifndef LOAD_DISK_FILE_H
#define LOAD_DISK_FILE_H

#include <limits.h>

#include "load.h"

struct load_file {
	char path[PATH_MAX];
	int fd;       /* -1: not open */
	bool direct;  /* O_DIRECT is in force */
	uint8_t *block;
	size_t block_bytes;
};

/* Creates the file in --dir and fills it to --size with real blocks, since reads of a hole
 * do not reach the disk.  wants_direct: with O_DIRECT where the file system has it. */
int load_file_open(struct load_run *run, struct load_file *file, size_t block_bytes,
		   bool wants_direct);
void load_file_close(struct load_file *file);

/* One block at a block number; 0 or -1 after load_fail. */
int load_file_write(struct load_run *run, struct load_file *file, uint64_t block);
int load_file_read(struct load_run *run, struct load_file *file, uint64_t block);

/* Keeps "path: what: errno text". */
int load_file_fail(struct load_run *run, const char *path, const char *what);

#endif
