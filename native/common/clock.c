/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAIR_ATTEMPTS 10
#define COST_ATTEMPTS 1000

struct vmj_clock_pair vmj_clock_pair(void)
{
	struct vmj_clock_pair best = { 0, 0 };
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < PAIR_ATTEMPTS; i++) {
		uint64_t before = vmj_now_ns();
		uint64_t tsc = vmj_tsc();
		uint64_t width = vmj_now_ns() - before;

		if (width < best_width) {
			best_width = width;
			best = (struct vmj_clock_pair){ .ns = before + width / 2, .tsc = tsc };
		}
	}
	return best;
}

uint64_t vmj_tsc_hz(struct vmj_clock_pair first, struct vmj_clock_pair last)
{
	if (last.tsc <= first.tsc || last.ns <= first.ns)
		return 0;
	/* In floating point: ticks * 10^9 leaves 64 bits after six seconds. */
	return (uint64_t)((double)(last.tsc - first.tsc) * 1e9 / (double)(last.ns - first.ns) + 0.5);
}

uint64_t vmj_clock_cost_ns(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < COST_ATTEMPTS; i++) {
		uint64_t before = vmj_now_ns();
		uint64_t cost = vmj_now_ns() - before;

		if (cost < best)
			best = cost;
	}
	return best;
}

uint64_t vmj_clock_resolution_ns(void)
{
	struct timespec res = { 0, 0 };

	clock_getres(CLOCK_MONOTONIC, &res);
	return vmj_timespec_ns(res);
}

void vmj_clocksource(char *name, uint32_t size)
{
	static const char path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	memset(name, 0, size);
	if (fd >= 0) {
		got = read(fd, name, size - 1);
		close(fd);
	}
	if (got < 0)
		name[0] = '\0';
	name[strcspn(name, "\n")] = '\0';
}
