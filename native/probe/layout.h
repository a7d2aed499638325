/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_LAYOUT_H
#define PROBE_LAYOUT_H

/* Prints all structures and constants of vmjitter_shm.h as JSON. */
void probe_print_layout(void);

#endif
