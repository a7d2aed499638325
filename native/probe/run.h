/* SPDX-License-Identifier: Apache-2.0
 * One measurement: where the samples go, preparation, the run, its proofs.
 */
#ifndef PROBE_RUN_H
#define PROBE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "options.h"
#include "shm.h"

#define PROBE_MAX_WARNINGS 8

struct probe_run {
	const struct probe_options *options;
	struct vmj_shm shm;              /* mapped only with --shm */
	struct vmj_sample *samples;      /* own buffer, or the ring in shared memory */
	size_t own_bytes;                /* of the own buffer; 0 with --shm */
	struct vmj_probe_result result;
	struct vmj_stream_header stream;
	struct probe_loop loop;
	uint32_t never_stop;             /* what loop.stop points to without --shm */
	struct vmj_clock_pair first, last;
	char warnings[PROBE_MAX_WARNINGS][160];
	uint32_t warning_count;
};

/* Measures.  Returns 0, or VMJ_EXIT_ERROR with the reason in run->result.message (and in
 * shared memory, when that could be mapped). */
int probe_run(struct probe_run *run, const struct probe_options *options);
void probe_run_free(struct probe_run *run);

#endif
