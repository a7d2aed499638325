/* SPDX-License-Identifier: Apache-2.0
 * Programs that the agent runs for the host.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "opts.h"

/* What one reading end of a pipe delivered: the last VMJ_REPLY_CAP bytes of it, as a ring. */
struct tail {
	char *bytes;
	uint64_t total;
};

int32_t agent_exit_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static struct agent_child *find_child(struct agent *agent, pid_t pid)
{
	for (uint32_t i = 0; i < AGENT_MAX_SPAWNED; i++)
		if (agent->children[i].pid == pid)
			return &agent->children[i];
	return NULL;
}

bool agent_reap(struct agent *agent, pid_t awaited, int *wait_status)
{
	bool found = false;
	int status;
	pid_t pid;

	/* All of them: process 1 inherits the orphans. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct agent_child *child = find_child(agent, pid);

		if (child) {
			child->ended = true;
			child->wait_status = status;
		}
		if (pid == awaited) {
			found = true;
			*wait_status = status;
		}
	}
	return found;
}

/* In the child: output to `out` when that is not negative; errno goes to `report` when the
 * program cannot be started, which closes by itself when it can. */
__attribute__((noreturn))
static void become(char **argv, int out, int report, const sigset_t *mask)
{
	int null = open("/dev/null", O_RDONLY);
	int error;
	ssize_t done;

	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (out >= 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
	}
	setsid(); /* no program is to get the signals of the agent's terminal */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	error = errno;
	done = write(report, &error, sizeof(error));
	(void)done;
	_exit(127);
}

/* Forks and executes; returns the pid or -errno. */
static pid_t start(char **argv, int out, const sigset_t *mask)
{
	int report[2], error = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(argv, out, report[1], mask);
	if (pid < 0)
		error = errno;
	close(report[1]);
	do
		got = pid > 0 ? read(report[0], &error, sizeof(error)) : 0;
	while (got < 0 && errno == EINTR);
	close(report[0]);
	if (error == 0)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return -error;
}

static void say_not_started(struct agent *agent, const char *name, int error)
{
	agent_say(agent, -error, "cannot run %s: %s\n", name, strerror(error));
}

static void on_child(int number)
{
	(void)number; /* only there so that ppoll ends */
}

/* SIGCHLD is let in only while ppoll waits, so that none is missed. */
static void watch_children(sigset_t *old)
{
	struct sigaction action;
	sigset_t child;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_child;
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, old);
}

static void keep(struct tail *tail, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tail->bytes[tail->total++ % VMJ_REPLY_CAP] = bytes[i];
}

/* Takes what is there; false at the end of the output. */
static bool drain(struct tail *tail, int fd)
{
	char buffer[4096];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		keep(tail, buffer, (size_t)got);
	return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Collects output until the program has ended.  Not until the end of the output, since a
 * background process may have inherited the pipe. */
static int collect(struct agent *agent, pid_t pid, int fd, struct tail *tail, const sigset_t *mask)
{
	bool open = true;
	int wait_status = 0;

	while (!agent_reap(agent, pid, &wait_status)) {
		struct pollfd ready = { .fd = open ? fd : -1, .events = POLLIN };

		ppoll(&ready, 1, NULL, mask);
		if (open)
			open = drain(tail, fd);
	}
	if (open)
		drain(tail, fd);
	return wait_status;
}

static void reply_with_tail(struct agent *agent, const struct tail *tail)
{
	uint64_t length = tail->total < VMJ_REPLY_CAP ? tail->total : VMJ_REPLY_CAP;
	uint64_t first = tail->total - length;

	for (uint64_t i = 0; i < length; i++)
		agent->reply.text[i] = tail->bytes[(first + i) % VMJ_REPLY_CAP];
	agent->reply.length = (uint32_t)length;
}

void agent_run(struct agent *agent, char **argv)
{
	struct tail tail = { malloc(VMJ_REPLY_CAP), 0 };
	int out[2] = { -1, -1 };
	sigset_t mask;
	pid_t pid;

	if (!tail.bytes || pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0) {
		agent_say(agent, -ENOMEM, "no memory or descriptors to run %s\n", argv[0]);
		free(tail.bytes);
		return;
	}
	fcntl(out[1], F_SETFL, 0); /* the program's end blocks, as programs expect */
	watch_children(&mask);
	pid = start(argv, out[1], &mask);
	close(out[1]);
	if (pid < 0) {
		say_not_started(agent, argv[0], -pid);
	} else {
		agent->reply.status = agent_exit_status(collect(agent, pid, out[0], &tail, &mask));
		reply_with_tail(agent, &tail);
	}
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(out[0]);
	free(tail.bytes);
}

/* An entry that is free or whose program has ended. */
static struct agent_child *free_entry(struct agent *agent)
{
	struct agent_child *entry = find_child(agent, 0);

	for (uint32_t i = 0; !entry && i < AGENT_MAX_SPAWNED; i++)
		if (agent->children[i].ended)
			entry = &agent->children[i];
	return entry;
}

void agent_spawn(struct agent *agent, char **argv)
{
	struct agent_child *entry;
	sigset_t mask;
	pid_t pid;

	agent_reap(agent, 0, NULL);
	entry = free_entry(agent);
	if (!entry) {
		agent_say(agent, -EAGAIN, "%u programs run already\n", AGENT_MAX_SPAWNED);
		return;
	}
	sigprocmask(SIG_SETMASK, NULL, &mask);
	pid = start(argv, -1, &mask);
	if (pid < 0) {
		say_not_started(agent, argv[0], -pid);
		return;
	}
	*entry = (struct agent_child){ .pid = pid };
	agent_say(agent, 0, "%ld", (long)pid);
}

void agent_poll(struct agent *agent, const char *text)
{
	struct agent_child *child = NULL;
	uint64_t pid;

	agent_reap(agent, 0, NULL);
	if (vmj_parse_u64(text, INT32_MAX, &pid) && pid > 0)
		child = find_child(agent, (pid_t)pid);
	if (!child)
		agent_say(agent, 0, "unknown");
	else if (!child->ended)
		agent_say(agent, 0, "running");
	else if (WIFSIGNALED(child->wait_status))
		agent_say(agent, 0, "signal %d", WTERMSIG(child->wait_status));
	else
		agent_say(agent, 0, "exit %d", WEXITSTATUS(child->wait_status));
}
