/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmj_sched.h"

static volatile sig_atomic_t stop_signalled;
static volatile sig_atomic_t child_ended;

/* A signal that comes just before a read or semop does not end it with EINTR, and what it
 * waits for may never come once a helper is dead.  So it is followed by others. */
static void follow_up(void)
{
	alarm(1);
}

static void on_stop(int number)
{
	(void)number;
	stop_signalled = 1;
	follow_up();
}

static void on_child(int number)
{
	(void)number;
	child_ended = 1;
	follow_up();
}

static void on_alarm(int number)
{
	(void)number;
	follow_up();
}

static void set_handler(int number, void (*handler)(int), int flags)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = flags;
	sigaction(number, &action, NULL);
}

void load_catch_signals(void)
{
	/* Without SA_RESTART: a blocked read, semop or sleep ends with EINTR. */
	set_handler(SIGINT, on_stop, 0);
	set_handler(SIGTERM, on_stop, 0);
	set_handler(SIGCHLD, on_child, SA_NOCLDSTOP);
	set_handler(SIGALRM, on_alarm, 0);
	set_handler(SIGPIPE, SIG_IGN, 0);
}

bool load_signalled(void)
{
	return stop_signalled != 0;
}

bool load_child_ended(void)
{
	return child_ended != 0;
}

int load_fail(struct load_run *run, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vsnprintf(run->message, sizeof(run->message), format, values);
	va_end(values);
	return -1;
}

/* In the child.  Ctrl-C reaches the whole group: the parent alone decides then, since a
 * helper that went first would look like a failure. */
__attribute__((noreturn))
static void be_child(struct load_run *run, pid_t parent, int (*body)(struct load_run *run))
{
	set_handler(SIGINT, SIG_IGN, 0);
	set_handler(SIGTERM, SIG_DFL, 0);
	set_handler(SIGCHLD, SIG_DFL, 0);
	if (vmj_die_with_parent(parent) != 0)
		_exit(1);
	_exit(body(run));
}

int load_fork(struct load_run *run, int (*body)(struct load_run *run))
{
	pid_t parent = getpid();
	pid_t child;

	if (run->child_count == LOAD_MAX_CHILDREN)
		return load_fail(run, "more than %u helper processes", LOAD_MAX_CHILDREN);
	fflush(NULL);
	child = fork();
	if (child < 0)
		return load_fail(run, "fork: %s", strerror(errno));
	if (child == 0)
		be_child(run, parent, body);
	run->children[run->child_count++] = child;
	return 0;
}

void load_end_children(struct load_run *run)
{
	for (uint32_t i = 0; i < run->child_count; i++)
		kill(run->children[i], SIGKILL);
	for (uint32_t i = 0; i < run->child_count; i++)
		while (waitpid(run->children[i], NULL, 0) < 0 && errno == EINTR)
			;
	run->child_count = 0;
}

/* After a call on a helper's pipe that did not do its work: 1 try again, 0 or -1. */
static int after_failure(struct load_run *run, ssize_t result, const char *what)
{
	if (load_stopping(run))
		return 0;
	if (result == 0 || child_ended)
		return load_fail(run, "a helper process has ended");
	if (errno == EINTR)
		return 1;
	return load_fail(run, "%s: %s", what, strerror(errno));
}

int load_read(struct load_run *run, int fd, void *to, size_t bytes)
{
	while (bytes > 0) {
		ssize_t got = read(fd, to, bytes);

		if (got > 0) {
			to = (char *)to + got;
			bytes -= (size_t)got;
		} else {
			int verdict = after_failure(run, got, "read from a pipe");

			if (verdict != 1)
				return verdict;
		}
	}
	return 1;
}

int load_write(struct load_run *run, int fd, const void *from, size_t bytes)
{
	while (bytes > 0) {
		ssize_t put = write(fd, from, bytes);

		if (put > 0) {
			from = (const char *)from + put;
			bytes -= (size_t)put;
		} else {
			int verdict = after_failure(run, put, "write to a pipe");

			if (verdict != 1)
				return verdict;
		}
	}
	return 1;
}

uint64_t load_random(uint64_t *state)
{
	/* Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (2003), 14. */
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
