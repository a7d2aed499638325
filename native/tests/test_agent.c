/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent.h"
#include "check.h"

static int split(const char *text, uint32_t bytes, char *room, char **argv, uint32_t most)
{
	memcpy(room, text, bytes);
	return agent_split(room, bytes, argv, most);
}

static void test_split(void)
{
	char room[64];
	char *argv[4];

	CHECK(split("run\0ls\0-l", 10, room, argv, 3) == 3);
	CHECK(!strcmp(argv[0], "run") && !strcmp(argv[1], "ls") && !strcmp(argv[2], "-l"));
	CHECK(argv[3] == NULL);
	CHECK(split("run\0ls", 6, room, argv, 3) == 2 && !strcmp(argv[1], "ls"));
	CHECK(split("a\0\0b", 5, room, argv, 3) == 3 && argv[1][0] == '\0');
	CHECK(split("", 0, room, argv, 3) == 0 && argv[0] == NULL);
	CHECK(split("a\0b\0c\0d", 8, room, argv, 3) == -1);
}

static void test_say(struct agent *agent)
{
	agent_say(agent, -EINVAL, "%s %d", "text", 7);
	CHECK(agent->reply.status == -EINVAL && agent->reply.length == 6);
	CHECK(!memcmp(agent->reply.text, "text 7", 6));
	agent_say(agent, 0, "%*d", (int)VMJ_REPLY_CAP + 10, 1);
	CHECK(agent->reply.length == VMJ_REPLY_CAP - 1);
}

static void run(struct agent *agent, const char *script)
{
	char shell[] = "/bin/sh", dash_c[] = "-c", line[256];
	char *argv[] = { shell, dash_c, line, NULL };

	snprintf(line, sizeof(line), "%s", script);
	agent_run(agent, argv);
}

static bool reply_is(const struct agent *agent, const char *text)
{
	return agent->reply.length == strlen(text) &&
	       memcmp(agent->reply.text, text, agent->reply.length) == 0;
}

static void test_run(struct agent *agent)
{
	char missing[] = "/no/such/program", end[64];
	char *argv[] = { missing, NULL };

	run(agent, "echo out; echo err >&2; exit 3");
	CHECK(agent->reply.status == 3 && reply_is(agent, "out\nerr\n"));
	run(agent, "kill -9 $$");
	CHECK(agent->reply.status == 128 + 9 && agent->reply.length == 0);
	agent_run(agent, argv);
	CHECK(agent->reply.status == -ENOENT && agent->reply.length > 0);
	/* Does not wait for the background process, which holds the pipe. */
	run(agent, "sleep 60 & echo $!");
	CHECK(agent->reply.status == 0 && agent->reply.length > 0);
	snprintf(end, sizeof(end), "kill %.*s", (int)agent->reply.length, agent->reply.text);
	run(agent, end);
	CHECK(agent->reply.status == 0);
}

static void test_long_output_keeps_its_end(struct agent *agent)
{
	run(agent, "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done; echo end");
	CHECK(agent->reply.status == 0 && agent->reply.length == VMJ_REPLY_CAP);
	CHECK(!memcmp(agent->reply.text + VMJ_REPLY_CAP - 4, "end\n", 4));
}

static void poll_until_not(struct agent *agent, const char *pid, const char *text)
{
	const struct timespec pause = { 0, 10000000 };

	for (int i = 0; i < 500; i++) {
		agent_poll(agent, pid);
		if (!reply_is(agent, text))
			return;
		nanosleep(&pause, NULL);
	}
}

static void test_spawn(struct agent *agent)
{
	char shell[] = "/bin/sh", dash_c[] = "-c", line[] = "exit 5", pid[32];
	char *argv[] = { shell, dash_c, line, NULL };

	agent_spawn(agent, argv);
	CHECK(agent->reply.status == 0);
	snprintf(pid, sizeof(pid), "%.*s", (int)agent->reply.length, agent->reply.text);
	poll_until_not(agent, pid, "running");
	CHECK(reply_is(agent, "exit 5"));
	agent_poll(agent, "1");
	CHECK(reply_is(agent, "unknown"));
	agent_poll(agent, "0");
	CHECK(reply_is(agent, "unknown"));
}

static void test_exit_status(void)
{
	CHECK(agent_exit_status(3 << 8) == 3 && agent_exit_status(15) == 143);
}

int main(void)
{
	static struct agent agent;

	agent.bell = -1;
	agent.reply.text = calloc(1, VMJ_REPLY_CAP);
	if (!agent.reply.text)
		return 1;
	test_split();
	test_say(&agent);
	test_run(&agent);
	test_long_output_keeps_its_end(&agent);
	test_spawn(&agent);
	test_exit_status();
	free(agent.reply.text);
	return check_result("agent");
}
