/* SPDX-License-Identifier: Apache-2.0
 * The memory shared with the host: mapping it, its regions, ordered 32-bit accesses.
 */
#ifndef VMJ_SHM_COMMON_H
#define VMJ_SHM_COMMON_H

#include <stddef.h>
#include <stdint.h>

#include "vmjitter_shm.h"

struct vmj_shm {
	uint8_t *base; /* NULL: not mapped */
	size_t bytes;
	uint64_t ring_records;
};

static inline void vmj_store_release(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static inline uint32_t vmj_load_acquire(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* Maps `path` (a plain file or a PCI BAR in sysfs) and checks its header.
 * Returns 0; on failure -1 with the reason in `why`. */
int vmj_shm_map(struct vmj_shm *shm, const char *path, char *why, size_t why_size);
void vmj_shm_unmap(struct vmj_shm *shm);

/* Checks a header against the size of the file that it stands in; NULL or the fault. */
const char *vmj_shm_check(const struct vmj_shm_header *header, uint64_t file_bytes);

/* Copies to shared memory in 32-bit stores, for memory that may be a PCI BAR.  Both
 * pointers and the size are multiples of 4. */
void vmj_shm_copy(void *to, const void *from, size_t bytes);

struct vmj_control *vmj_shm_control(const struct vmj_shm *shm);
struct vmj_clock_cell *vmj_shm_clock(const struct vmj_shm *shm);
struct vmj_probe_result *vmj_shm_probe(const struct vmj_shm *shm);
struct vmj_load_slot *vmj_shm_load(const struct vmj_shm *shm, uint32_t slot);
struct vmj_stream_header *vmj_shm_stream(const struct vmj_shm *shm);
struct vmj_sample *vmj_shm_ring(const struct vmj_shm *shm);

#endif
