/* SPDX-License-Identifier: Apache-2.0
 * What a finished run leaves behind: summary, JSON, histogram, raw stream.
 */
#ifndef PROBE_OUTPUT_H
#define PROBE_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "run.h"

struct probe_figure {
	bool known;
	int64_t ns;
};

struct probe_figures {
	uint64_t count; /* wake-ups: activations that were not missed */
	struct probe_figure min, p50, p99, p999, max, mean;
};

/* Quantiles are known only when the run's records are in own memory and suffice. */
void probe_figures(const struct probe_run *run, struct probe_figures *figures);

void probe_print_text(const struct probe_run *run, const struct probe_figures *figures);
void probe_print_json(const struct probe_run *run, const struct probe_figures *figures);

/* 0, or -1 with errno. */
int probe_write_raw(const struct probe_run *run, const char *path);
/* Histogram as cyclictest 2.7 and later prints it; path NULL: to stdout. */
int probe_write_histogram(const struct probe_run *run, const char *path);

#endif
