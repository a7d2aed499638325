/* SPDX-License-Identifier: Apache-2.0
 * What only process 1 does.
 */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

#include <stddef.h>

#define AGENT_SHM_LINK "/dev/vmjitter"
#define AGENT_BELL "/dev/ttyS1"

/* Mounts the kernel's file systems, takes the console, loads the modules of /etc/modules. */
void boot_system(void);

/* Finds and enables the shared memory's PCI device; makes AGENT_SHM_LINK.  0 or -1 with the
 * reason in `why`. */
int boot_find_memory(char *why, size_t size);

/* Opens the bell for writing, raw; -1: none. */
int boot_open_bell(const char *path);

/* Does not return. */
void boot_power_off(void) __attribute__((noreturn));

#endif
