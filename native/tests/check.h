/* SPDX-License-Identifier: Apache-2.0
 * The whole test framework: CHECK counts, main returns the sum.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdio.h>

static int failures;
static int checks;

#define CHECK(condition)                                                                    \
	do {                                                                                \
		checks++;                                                                   \
		if (!(condition)) {                                                         \
			failures++;                                                         \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
		}                                                                           \
	} while (0)

static inline int check_result(const char *name)
{
	printf("%s: %d checks, %d failed\n", name, checks, failures);
	return failures ? 1 : 0;
}

#endif
