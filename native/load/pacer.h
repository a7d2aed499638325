/* SPDX-License-Identifier: Apache-2.0
 * When a load's operations are due: an absolute schedule, so that a late start of one
 * operation does not lower the rate.
 */
#ifndef LOAD_PACER_H
#define LOAD_PACER_H

#include <stdint.h>

struct load_pacer {
	uint64_t rate;
	uint64_t next_ns;
	uint64_t carry; /* what does not divide evenly, in 1/rate ns or 1/1000 operation */
};

void load_pacer_start(struct load_pacer *pacer, uint64_t rate, uint64_t start_ns);

/* Operations due at now_ns; 0: none before pacer->next_ns.  Up to 1000/s they come one by
 * one, above that once per millisecond.  What is more than a second behind is dropped: a
 * load that cannot keep up shall not run without a pause for minutes afterwards. */
uint32_t load_pacer_due(struct load_pacer *pacer, uint64_t now_ns);

#endif
