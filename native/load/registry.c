/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "load.h"

/* Kernel loads first, then disk, then network: the order of the evaluation's description.
 * It has no cpu. */
const struct load *const load_registry[] = {
	&load_shm,     &load_mem,       &load_sched,     &load_timer, &load_sem,      &load_cpu,
	&load_disk_rw, &load_disk_sync, &load_disk_meta, &load_udp,   &load_udp_peer, NULL,
};

const struct load *load_find(const char *name)
{
	for (const struct load *const *at = load_registry; *at; at++)
		if (strcmp((*at)->name, name) == 0)
			return *at;
	return NULL;
}
