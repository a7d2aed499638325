/* SPDX-License-Identifier: Apache-2.0
 * Values of command-line options.  Every parser takes the whole text or refuses it: a
 * number with something behind it is an error, never a number.
 */
#ifndef VMJ_OPTS_H
#define VMJ_OPTS_H

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses of all three programs. */
enum vmj_exit {
	VMJ_EXIT_OK = 0,
	VMJ_EXIT_ERROR = 1,
	VMJ_EXIT_USAGE = 2,
	VMJ_EXIT_THRESHOLD = 3, /* probe: --breaktrace was hit */
};

/* Decimal number up to max. */
bool vmj_parse_u64(const char *text, uint64_t max, uint64_t *value);

/* Number with an optional suffix ns, us, ms, s, m, h, d; without one it is in units of
 * default_unit_ns.  The value is in nanoseconds. */
bool vmj_parse_time_ns(const char *text, uint64_t default_unit_ns, uint64_t *value_ns);

/* Number with an optional suffix K, M, G (powers of 1024). */
bool vmj_parse_bytes(const char *text, uint64_t *bytes);

/* CPU list "0", "2-3", "0,2-3" as a mask of the first 64 CPUs; never empty. */
bool vmj_parse_cpus(const char *text, uint64_t *mask);

/* "ADDR:PORT" with a dotted IPv4 address; host byte order. */
bool vmj_parse_address(const char *text, uint32_t *address, uint16_t *port);

struct option;

/* getopt_long(3) takes abbreviations of long options, which change their meaning when an
 * option is added: true if every long option in argv is spelled out; else says which not. */
bool vmj_spelled_out(int argc, char *const *argv, const struct option *options);

/* Writes text as a JSON string, quotes included, to stdout. */
void vmj_print_json_string(const char *text);

#endif
