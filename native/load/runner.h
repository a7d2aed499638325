/* SPDX-License-Identifier: Apache-2.0
 * Runs one load: set-up, pace, count, clean up.
 */
#ifndef LOAD_RUNNER_H
#define LOAD_RUNNER_H

#include "load.h"

/* Returns an exit status.  Prints as the options say. */
int load_run(struct load_run *run, const struct load_options *options);

#endif
