/* SPDX-License-Identifier: Apache-2.0 */
#include "pacer.h"

#define SECOND_NS UINT64_C(1000000000)
#define TICK_NS UINT64_C(1000000)
#define TICKS_PER_SECOND UINT64_C(1000)

void load_pacer_start(struct load_pacer *pacer, uint64_t rate, uint64_t start_ns)
{
	pacer->rate = rate;
	pacer->next_ns = start_ns;
	pacer->carry = 0;
}

static uint32_t single(struct load_pacer *pacer)
{
	pacer->next_ns += SECOND_NS / pacer->rate;
	pacer->carry += SECOND_NS % pacer->rate;
	if (pacer->carry >= pacer->rate) {
		pacer->carry -= pacer->rate;
		pacer->next_ns++;
	}
	return 1;
}

static uint32_t batch(struct load_pacer *pacer)
{
	uint32_t due;

	pacer->next_ns += TICK_NS;
	pacer->carry += pacer->rate;
	due = (uint32_t)(pacer->carry / TICKS_PER_SECOND);
	pacer->carry %= TICKS_PER_SECOND;
	return due;
}

uint32_t load_pacer_due(struct load_pacer *pacer, uint64_t now_ns)
{
	if (pacer->rate == 0)
		return 1;
	if (now_ns < pacer->next_ns)
		return 0;
	if (now_ns - pacer->next_ns > SECOND_NS)
		pacer->next_ns = now_ns;
	return pacer->rate > TICKS_PER_SECOND ? batch(pacer) : single(pacer);
}
