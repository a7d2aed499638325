/* SPDX-License-Identifier: Apache-2.0 */
#include "shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *vmj_shm_check(const struct vmj_shm_header *header, uint64_t file_bytes)
{
	uint64_t records = header->ring_records;

	if (memcmp(header->magic, VMJ_SHM_MAGIC, sizeof(header->magic)) != 0)
		return "no vmjitter header (wrong magic); the host must write it first";
	if (header->version != VMJ_SHM_VERSION)
		return "another layout version; take host and guest programs from one vmjitter";
	if (header->total_bytes > file_bytes)
		return "the header claims more bytes than there are";
	if (records == 0 || (records & (records - 1)) != 0)
		return "ring_records is not a power of two";
	if (header->total_bytes < VMJ_OFF_RING ||
	    (header->total_bytes - VMJ_OFF_RING) / sizeof(struct vmj_sample) < records)
		return "the ring does not fit into total_bytes";
	return NULL;
}

static int fail(char *why, size_t size, const char *path, const char *reason)
{
	snprintf(why, size, "%s: %s", path, reason);
	return -1;
}

/* Opens `path` and finds its size, which must hold at least the fixed regions. */
static int open_sized(const char *path, size_t *bytes, char *why, size_t why_size)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return fail(why, why_size, path, strerror(errno));
	if (fstat(fd, &st) != 0 || st.st_size < (off_t)VMJ_OFF_RING || st.st_size > PTRDIFF_MAX) {
		close(fd);
		return fail(why, why_size, path, "not a vmjitter shared memory (its size)");
	}
	*bytes = (size_t)st.st_size;
	return fd;
}

int vmj_shm_map(struct vmj_shm *shm, const char *path, char *why, size_t why_size)
{
	const struct vmj_shm_header *header;
	const char *fault;
	int fd = open_sized(path, &shm->bytes, why, why_size);

	shm->base = NULL;
	if (fd < 0)
		return -1;
	shm->base = mmap(NULL, shm->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shm->base == MAP_FAILED) {
		shm->base = NULL;
		return fail(why, why_size, path, strerror(errno));
	}
	header = (const struct vmj_shm_header *)(const void *)shm->base;
	fault = vmj_shm_check(header, shm->bytes);
	if (fault) {
		vmj_shm_unmap(shm);
		return fail(why, why_size, path, fault);
	}
	shm->ring_records = header->ring_records;
	return 0;
}

void vmj_shm_unmap(struct vmj_shm *shm)
{
	if (shm->base)
		munmap(shm->base, shm->bytes);
	shm->base = NULL;
}

void vmj_shm_copy(void *to, const void *from, size_t bytes)
{
	volatile uint32_t *out = to;
	const uint32_t *in = from;

	for (size_t i = 0; i < bytes / sizeof(*in); i++)
		out[i] = in[i];
}

static void *at(const struct vmj_shm *shm, size_t offset)
{
	return shm->base + offset;
}

struct vmj_control *vmj_shm_control(const struct vmj_shm *shm)
{
	return at(shm, VMJ_OFF_CONTROL);
}

struct vmj_clock_cell *vmj_shm_clock(const struct vmj_shm *shm)
{
	return at(shm, VMJ_OFF_CLOCK);
}

struct vmj_probe_result *vmj_shm_probe(const struct vmj_shm *shm)
{
	return at(shm, VMJ_OFF_PROBE);
}

struct vmj_load_slot *vmj_shm_load(const struct vmj_shm *shm, uint32_t slot)
{
	return at(shm, VMJ_OFF_LOADS + slot * sizeof(struct vmj_load_slot));
}

struct vmj_stream_header *vmj_shm_stream(const struct vmj_shm *shm)
{
	return at(shm, VMJ_OFF_STREAM);
}

struct vmj_sample *vmj_shm_ring(const struct vmj_shm *shm)
{
	return at(shm, VMJ_OFF_RING);
}
