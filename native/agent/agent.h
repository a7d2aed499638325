/* SPDX-License-Identifier: Apache-2.0
 * The agent: serves the host's commands from shared memory; process 1 of our guest image.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm.h"

#define AGENT_MAX_ARGS 256u
#define AGENT_MAX_SPAWNED 64u

/* A program started by `spawn`. */
struct agent_child {
	pid_t pid; /* 0: free entry */
	bool ended;
	int wait_status;
};

struct agent_reply {
	int32_t status;
	uint32_t length;
	char *text; /* VMJ_REPLY_CAP bytes */
};

struct agent {
	struct vmj_shm shm;
	struct vmj_control *control;
	int bell; /* -1: none */
	bool is_init;
	bool finished; /* poweroff was asked for */
	struct agent_child children[AGENT_MAX_SPAWNED];
	char command[VMJ_COMMAND_CAP + 1];
	char *argv[AGENT_MAX_ARGS + 1];
	struct agent_reply reply;
};

/* Serves commands until poweroff. */
void agent_serve(struct agent *agent);

/* Splits NUL-separated strings in place.  Returns their number, or -1 when they are more
 * than `most`.  text[bytes] must be writable; argv gets one NULL more. */
int agent_split(char *text, uint32_t bytes, char **argv, uint32_t most);

/* Exit status as the reply carries it: 128 + signal for a killed program. */
int32_t agent_exit_status(int wait_status);

/* Sets the reply. */
void agent_say(struct agent *agent, int32_t status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Verbs.  argv[0] is the program. */
void agent_run(struct agent *agent, char **argv);
void agent_spawn(struct agent *agent, char **argv);
void agent_poll(struct agent *agent, const char *pid);
void agent_clock(struct agent *agent);

/* Reaps every child that has ended; returns true when `awaited` was among them. */
bool agent_reap(struct agent *agent, pid_t awaited, int *wait_status);

#endif
