/* SPDX-License-Identifier: Apache-2.0
 * agent: process 1 of the guest image (/init), or an ordinary process for tests.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent.h"
#include "boot.h"
#include "clock.h"
#include "opts.h"

#ifndef VMJ_VERSION
#define VMJ_VERSION "unknown"
#endif

struct arguments {
	const char *shm;
	const char *bell;
};

static void print_help(void)
{
	fputs("Usage: agent --shm FILE [--bell FILE]\n"
	      "Serves commands that the host writes into shared memory.  As process 1 it takes no\n"
	      "options: it prepares the guest and uses the PCI device 1af4:1110 and " AGENT_BELL ".\n"
	      "\n"
	      "      --shm FILE   the shared memory\n"
	      "      --bell FILE  gets a line when ready, and after each reply\n"
	      "      --help, --version\n"
	      "\n"
	      "Exit status: 0 after the command poweroff; 1 error; 2 usage.\n"
	      "\n"
	      "Example:\n"
	      "  agent --shm /dev/shm/vmjitter-test\n", stdout);
}

/* -1: go on; otherwise an exit status. */
static int parse(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {
		{ "shm", required_argument, NULL, 's' },
		{ "bell", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	if (!vmj_spelled_out(argc, argv, options))
		return VMJ_EXIT_USAGE;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return VMJ_EXIT_USAGE;
		if (option == 's')
			a->shm = optarg;
		if (option == 'b')
			a->bell = optarg;
		if (option == 'h')
			print_help();
		if (option == 'v')
			puts("agent (vmjitter) " VMJ_VERSION);
		if (option == 'h' || option == 'v')
			return VMJ_EXIT_OK;
	}
	if (optind == argc && a->shm)
		return -1;
	fputs("agent: it takes --shm FILE and no other arguments; see --help\n", stderr);
	return VMJ_EXIT_USAGE;
}

static int set_up(struct agent *agent, const struct arguments *a, uint64_t init_ns)
{
	char why[256];
	int failed = agent->is_init ? boot_find_memory(why, sizeof(why)) : 0;

	if (!failed)
		failed = vmj_shm_map(&agent->shm, a->shm, why, sizeof(why));
	if (failed) {
		printf("vmjitter: %s\n", why);
		return -1;
	}
	agent->control = vmj_shm_control(&agent->shm);
	agent->control->init_ns = init_ns;
	agent->reply.text = calloc(1, VMJ_REPLY_CAP);
	agent->bell = a->bell ? boot_open_bell(a->bell) : -1;
	return agent->reply.text ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct agent agent;
	struct arguments arguments = { NULL, NULL };
	uint64_t init_ns = vmj_now_ns();
	int status;

	agent.is_init = getpid() == 1;
	if (agent.is_init) { /* the kernel passes boot parameters it does not know as arguments */
		arguments = (struct arguments){ AGENT_SHM_LINK, AGENT_BELL };
		boot_system();
	} else if ((status = parse(&arguments, argc, argv)) >= 0) {
		return status;
	}
	setenv("PATH", agent.is_init ? "/bin:/sbin" : "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/", 0);
	signal(SIGPIPE, SIG_IGN);
	status = set_up(&agent, &arguments, init_ns) == 0 ? VMJ_EXIT_OK : VMJ_EXIT_ERROR;
	if (status == VMJ_EXIT_OK)
		agent_serve(&agent);
	if (agent.is_init)
		boot_power_off();
	return status;
}
