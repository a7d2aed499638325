/* SPDX-License-Identifier: Apache-2.0
 * Figures of a finished run, from its records.
 */
#ifndef PROBE_STATS_H
#define PROBE_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmjitter_shm.h"

/* Quantiles in parts per thousand. */
#define PROBE_P50 500u
#define PROBE_P99 990u
#define PROBE_P999 999u

/* Moves the latencies of all records that were not missed to the front of `to`; returns
 * how many. */
uint64_t probe_latencies(const struct vmj_sample *records, uint64_t count, int64_t *to);

/* Whether N values carry the quantile: N >= 3 / (1 - p).  With fewer, fewer than three
 * values are expected beyond it, and the figure would be the maximum under another name. */
bool probe_quantile_supported(uint64_t count, uint32_t permille);

/* Quantile by nearest rank, that is the smallest value with at least p * N values not above
 * it.  Reorders the values; count > 0. */
int64_t probe_quantile(int64_t *values, uint64_t count, uint32_t permille);

#endif
