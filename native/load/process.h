/* SPDX-License-Identifier: Apache-2.0
 * Signals and helper processes of a load.
 */
#ifndef LOAD_PROCESS_H
#define LOAD_PROCESS_H

#include <stdbool.h>

#include "load.h"

void load_catch_signals(void);
bool load_signalled(void);
/* Whether a helper process has ended, which none does before load_end_children. */
bool load_child_ended(void);
void load_end_children(struct load_run *run);

#endif
