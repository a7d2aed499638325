/* SPDX-License-Identifier: Apache-2.0 */
#include "opts.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* Reads digits from *text and moves it behind them.  Own loop because strtoull accepts
 * signs, blanks and hexadecimal. */
static bool digits(const char **text, uint64_t *value)
{
	const char *at = *text;
	uint64_t sum = 0;

	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		if (sum > (UINT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	if (at == *text)
		return false;
	*text = at;
	*value = sum;
	return true;
}

static bool scaled(const char *text, const struct unit *units, uint64_t factor, uint64_t *value)
{
	uint64_t number;

	if (!digits(&text, &number))
		return false;
	if (*text != '\0') {
		for (; units->suffix && strcmp(units->suffix, text) != 0; units++)
			;
		if (!units->suffix)
			return false;
		factor = units->factor;
	}
	if (number > UINT64_MAX / factor)
		return false;
	*value = number * factor;
	return true;
}

bool vmj_parse_u64(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t number;

	if (!digits(&text, &number) || *text != '\0' || number > max)
		return false;
	*value = number;
	return true;
}

bool vmj_parse_time_ns(const char *text, uint64_t default_unit_ns, uint64_t *value_ns)
{
	static const struct unit units[] = {
		{ "ns", 1 },
		{ "us", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", 60000000000 },
		{ "h", 3600000000000 },
		{ "d", 86400000000000 },
		{ NULL, 0 },
	};

	return scaled(text, units, default_unit_ns, value_ns);
}

bool vmj_parse_bytes(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{ "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 },
	};

	return scaled(text, units, 1, bytes);
}

static bool cpu_range(const char **text, uint64_t *mask)
{
	uint64_t first, last;

	if (!digits(text, &first))
		return false;
	last = first;
	if (**text == '-') {
		(*text)++;
		if (!digits(text, &last))
			return false;
	}
	if (first > last || last > 63)
		return false;
	for (uint64_t cpu = first; cpu <= last; cpu++)
		*mask |= UINT64_C(1) << cpu;
	return true;
}

bool vmj_parse_cpus(const char *text, uint64_t *mask)
{
	*mask = 0;
	do {
		if (!cpu_range(&text, mask))
			return false;
	} while (*text++ == ',');
	return text[-1] == '\0';
}

bool vmj_parse_address(const char *text, uint32_t *address, uint16_t *port)
{
	uint64_t part;

	*address = 0;
	for (int i = 0; i < 4; i++) {
		if (!digits(&text, &part) || part > 255 || *text++ != (i < 3 ? '.' : ':'))
			return false;
		*address = *address << 8 | (uint32_t)part;
	}
	if (!vmj_parse_u64(text, UINT16_MAX, &part))
		return false;
	*port = (uint16_t)part;
	return true;
}

static const struct option *find_option(const struct option *options, const char *name)
{
	size_t length = strcspn(name, "=");

	for (; options->name; options++)
		if (strncmp(options->name, name, length) == 0 && options->name[length] == '\0')
			return options;
	return NULL;
}

bool vmj_spelled_out(int argc, char *const *argv, const struct option *options)
{
	for (int i = 1; i < argc; i++) {
		const struct option *found;

		if (strncmp(argv[i], "--", 2) != 0)
			continue;
		if (argv[i][2] == '\0')
			break;
		found = find_option(options, argv[i] + 2);
		if (!found) {
			fprintf(stderr, "%s: unknown option %s; see --help\n", argv[0], argv[i]);
			return false;
		}
		if (found->has_arg == required_argument && !strchr(argv[i], '='))
			i++; /* its value, which may look like an option */
	}
	return true;
}

void vmj_print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}
