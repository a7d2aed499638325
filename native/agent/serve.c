/* SPDX-License-Identifier: Apache-2.0
 * The command channel.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"

#define POLL_NS 1000000L
#define CLOCK_END UINT32_MAX
#define CLOCK_PATIENCE_NS UINT64_C(5000000000)
#define SPINS_PER_LOOK 4096u

int agent_split(char *text, uint32_t bytes, char **argv, uint32_t most)
{
	uint32_t count = 0;

	text[bytes] = '\0'; /* the last string may come without its NUL */
	for (uint32_t at = 0; at < bytes; at += (uint32_t)strlen(text + at) + 1) {
		if (count == most)
			return -1;
		argv[count++] = text + at;
	}
	argv[count] = NULL;
	return (int)count;
}

void agent_say(struct agent *agent, int32_t status, const char *format, ...)
{
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(agent->reply.text, VMJ_REPLY_CAP, format, values);
	va_end(values);
	if (length < 0)
		length = 0;
	agent->reply.status = status;
	agent->reply.length = (uint32_t)length < VMJ_REPLY_CAP ? (uint32_t)length : VMJ_REPLY_CAP - 1;
}

static void set_state(struct agent *agent, uint32_t state)
{
	vmj_store_release(&agent->control->agent_state, state);
}

static void answer_ping(struct vmj_clock_cell *cell, uint32_t request)
{
	cell->guest_ns = vmj_now_ns();
	cell->guest_tsc = vmj_tsc();
	vmj_store_release(&cell->clock_ack, request);
}

/* Answers pings until the host sends CLOCK_END, or has sent nothing for five seconds.
 * Request 0 is none: the host stores 0 before it gives this command. */
void agent_clock(struct agent *agent)
{
	struct vmj_clock_cell *cell = vmj_shm_clock(&agent->shm);
	uint64_t end_ns = vmj_now_ns() + CLOCK_PATIENCE_NS;
	uint32_t answered = 0;

	vmj_store_release(&cell->clock_ack, 0);
	set_state(agent, VMJ_AGENT_CLOCK);
	for (uint32_t spins = 1;; spins++) {
		uint32_t request = vmj_load_acquire(&cell->clock_req);

		if (request == CLOCK_END) {
			agent_say(agent, 0, "%s", "");
			return;
		}
		if (request != answered && request != 0) {
			answer_ping(cell, request);
			answered = request;
			end_ns = vmj_now_ns() + CLOCK_PATIENCE_NS;
		} else if (spins % SPINS_PER_LOOK == 0 && vmj_now_ns() > end_ns) {
			agent_say(agent, -ETIMEDOUT, "clock: no request for 5 s");
			return;
		}
	}
}

static void ring(struct agent *agent, const char *text)
{
	ssize_t done;

	if (agent->bell < 0)
		return;
	done = write(agent->bell, text, strlen(text));
	(void)done; /* the host polls the reply as well */
}

static bool verb(const char *given, int count, const char *name, int least, int most)
{
	return strcmp(given, name) == 0 && count >= least && count <= most;
}

static void execute(struct agent *agent, char **argv, int count)
{
	const char *name = count > 0 ? argv[0] : "";
	const int any = (int)AGENT_MAX_ARGS;

	if (verb(name, count, "run", 2, any))
		agent_run(agent, argv + 1);
	else if (verb(name, count, "spawn", 2, any))
		agent_spawn(agent, argv + 1);
	else if (verb(name, count, "poll", 2, 2))
		agent_poll(agent, argv[1]);
	else if (verb(name, count, "clock", 1, 1))
		agent_clock(agent);
	else if (verb(name, count, "poweroff", 1, 1))
		agent->finished = true;
	else
		agent_say(agent, -EINVAL, "unknown command or wrong number of arguments: '%s'; "
			  "known are run ARGV..., spawn ARGV..., poll PID, clock, poweroff", name);
}

/* The reply region takes bytes; they are copied as words, so the length is rounded up. */
static void send_reply(struct agent *agent, uint32_t sequence)
{
	struct vmj_control *c = agent->control;
	char line[32];

	vmj_shm_copy(agent->shm.base + VMJ_OFF_REPLY, agent->reply.text, (agent->reply.length + 3) & ~3u);
	c->rep_len = agent->reply.length;
	c->rep_status = agent->reply.status;
	vmj_store_release(&c->rep_seq, sequence);
	set_state(agent, VMJ_AGENT_READY);
	snprintf(line, sizeof(line), "reply %lu\n", (unsigned long)sequence);
	ring(agent, line);
}

static void serve_one(struct agent *agent, uint32_t sequence)
{
	uint32_t bytes = agent->control->cmd_len;
	int count = -1;

	set_state(agent, VMJ_AGENT_BUSY);
	if (bytes <= VMJ_COMMAND_CAP) {
		memcpy(agent->command, agent->shm.base + VMJ_OFF_COMMAND, bytes);
		count = agent_split(agent->command, bytes, agent->argv, AGENT_MAX_ARGS);
	}
	agent_say(agent, 0, "%s", "");
	if (count < 0)
		agent_say(agent, -E2BIG, "the command is too long");
	else
		execute(agent, agent->argv, count);
	if (agent->finished)
		sync();
	send_reply(agent, sequence);
}

static void start(struct agent *agent)
{
	agent->control->ready_ns = vmj_now_ns();
	set_state(agent, VMJ_AGENT_READY);
	ring(agent, "ready\n");
}

void agent_serve(struct agent *agent)
{
	struct vmj_control *c = agent->control;
	const struct timespec pause = { 0, POLL_NS };
	uint32_t heartbeat = c->heartbeat;
	uint32_t served = c->rep_seq; /* differs after a restart of the agent */

	start(agent);
	while (!agent->finished) {
		uint32_t wanted = vmj_load_acquire(&c->cmd_seq);

		if (wanted != served) {
			serve_one(agent, wanted);
			served = wanted;
		} else {
			agent_reap(agent, 0, NULL);
			vmj_store_release(&c->heartbeat, ++heartbeat);
			nanosleep(&pause, NULL);
		}
	}
}
