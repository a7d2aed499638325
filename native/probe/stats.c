/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <stddef.h>

uint64_t probe_latencies(const struct vmj_sample *records, uint64_t count, int64_t *to)
{
	uint64_t taken = 0;

	for (uint64_t i = 0; i < count; i++)
		if (records[i].latency_ns != VMJ_MISSED)
			to[taken++] = records[i].latency_ns;
	return taken;
}

bool probe_quantile_supported(uint64_t count, uint32_t permille)
{
	return count >= (3000u + 999u - permille) / (1000u - permille);
}

static void swap(int64_t *a, int64_t *b)
{
	int64_t keep = *a;

	*a = *b;
	*b = keep;
}

/* Splits low..high around a pivot (Hoare): all of low..result <= pivot <= all behind it. */
static size_t split(int64_t *values, size_t low, size_t high)
{
	int64_t pivot = values[low + (high - low) / 2];

	for (;; low++, high--) {
		while (values[low] < pivot)
			low++;
		while (values[high] > pivot)
			high--;
		if (low >= high)
			return high;
		swap(&values[low], &values[high]);
	}
}

int64_t probe_quantile(int64_t *values, uint64_t count, uint32_t permille)
{
	/* In two parts, because count * permille may leave 64 bits. */
	uint64_t rank = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
	size_t wanted = (size_t)(rank ? rank - 1 : 0);
	size_t low = 0, high = (size_t)(count - 1);

	while (low < high) {
		size_t middle = split(values, low, high);

		if (wanted <= middle)
			high = middle;
		else
			low = middle + 1;
	}
	return values[wanted];
}
