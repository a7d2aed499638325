/* SPDX-License-Identifier: Apache-2.0
 * udp and udp-peer: datagrams in both directions at once.  One operation: one datagram sent
 * (first slot) or received (second slot).  udp knows its peer; udp-peer learns the address
 * from the first valid datagram and then sends at its own rate.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "load.h"

#define MAGIC UINT32_C(0x564d4a55) /* "VMJU" */
#define SMALLEST 16u
#define LARGEST 65507u /* 65535 less IPv4 and UDP headers */

enum { SENT, RECEIVED };

/* Head of every datagram, in network byte order. */
struct head {
	uint32_t magic;
	uint32_t sequence;
};

struct state {
	int fd;
	bool connected;
	uint32_t sequence;
	uint8_t *payload;
	uint8_t received[LARGEST + 1];
};

static struct sockaddr_in address_of(const struct load_options *o)
{
	struct sockaddr_in address;

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(o->address);
	address.sin_port = htons(o->port);
	return address;
}

static int connect_to(struct state *s, const struct sockaddr_in *address)
{
	if (connect(s->fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) != 0)
		return -1;
	s->connected = true;
	return 0;
}

static int open_socket(struct load_run *run)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return load_fail(run, "no memory");
	run->state = s;
	s->payload = calloc(1, (size_t)run->options->size);
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return load_fail(run, "socket: %s", strerror(errno));
	return s->payload ? 0 : load_fail(run, "no memory");
}

static int set_up_udp(struct load_run *run)
{
	struct sockaddr_in address = address_of(run->options);

	if (open_socket(run) != 0)
		return -1;
	if (connect_to(run->state, &address) != 0)
		return load_fail(run, "connect to the peer: %s", strerror(errno));
	return 0;
}

static int enter_namespace(struct load_run *run)
{
	int fd = run->options->netns_fd;

	if (fd < 0 || setns(fd, CLONE_NEWNET) == 0)
		return 0;
	return load_fail(run, "enter the network namespace of descriptor %d: %s", fd, strerror(errno));
}

/* One line on stdout, before everything else: whoever started us waits for it. */
static int announce_port(struct load_run *run, int fd)
{
	struct sockaddr_in bound;
	socklen_t size = sizeof(bound);

	if (getsockname(fd, (struct sockaddr *)(void *)&bound, &size) != 0)
		return load_fail(run, "getsockname: %s", strerror(errno));
	printf("%u\n", (unsigned)ntohs(bound.sin_port));
	fflush(stdout);
	return 0;
}

static int set_up_peer(struct load_run *run)
{
	struct sockaddr_in address = address_of(run->options);
	struct state *s;

	if (enter_namespace(run) != 0 || open_socket(run) != 0)
		return -1;
	s = run->state;
	if (bind(s->fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) != 0)
		return load_fail(run, "bind to port %u: %s", run->options->port, strerror(errno));
	return announce_port(run, s->fd);
}

static bool valid(const struct state *s, ssize_t bytes)
{
	struct head head;

	if (bytes < (ssize_t)sizeof(head))
		return false;
	memcpy(&head, s->received, sizeof(head));
	return ntohl(head.magic) == MAGIC;
}

/* Takes one datagram; false when there is none. */
static bool receive_one(struct load_run *run)
{
	struct state *s = run->state;
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	ssize_t got = recvfrom(s->fd, s->received, sizeof(s->received), MSG_DONTWAIT,
			       (struct sockaddr *)(void *)&from, &size);

	if (got < 0) {
		/* An ICMP answer to a datagram of ours: the peer is not there (udp(7)). */
		if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH)
			load_count_error(run, SENT);
		return false;
	}
	if (!valid(s, got)) {
		load_count_error(run, RECEIVED);
		return true;
	}
	if (!s->connected)
		connect_to(s, &from);
	load_count(run, RECEIVED, 1);
	return true;
}

/* Bounded, so that a flood of datagrams cannot keep us from sending. */
static void receive_some(struct load_run *run)
{
	for (int i = 0; i < 64 && receive_one(run); i++)
		;
}

static void wait(struct load_run *run, uint64_t until_ns)
{
	struct state *s = run->state;

	while (!load_stopping(run)) {
		struct pollfd ready = { .fd = s->fd, .events = POLLIN };
		uint64_t now_ns = vmj_now_ns();
		struct timespec at_most;

		if (now_ns >= until_ns)
			return;
		at_most = vmj_ns_timespec(until_ns - now_ns);
		if (ppoll(&ready, 1, &at_most, NULL) <= 0)
			return;
		receive_some(run);
	}
}

/* Until somebody has called, a peer has nobody to send to; it waits a little, so that
 * --rate 0 does not spin meanwhile. */
static int await_first(struct load_run *run)
{
	wait(run, vmj_now_ns() + 1000000);
	return 0;
}

static int op(struct load_run *run)
{
	struct state *s = run->state;
	struct head head = { .magic = htonl(MAGIC), .sequence = htonl(s->sequence) };

	if (!s->connected)
		return await_first(run);
	receive_some(run);
	memcpy(s->payload, &head, sizeof(head));
	s->sequence++;
	if (send(s->fd, s->payload, (size_t)run->options->size, MSG_DONTWAIT) >= 0)
		return 1;
	if (errno == EMSGSIZE || errno == EACCES || errno == EPERM)
		return load_fail(run, "send of %" PRIu64 " bytes: %s", run->options->size,
				 strerror(errno));
	load_count_error(run, SENT); /* a full queue or an absent peer may pass */
	return 0;
}

static void tear_down(struct load_run *run)
{
	struct state *s = run->state;

	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s->payload);
	free(s);
}

const struct load load_udp = {
	.name = "udp",
	.help = "datagrams to and from --peer; --size of one (1024)",
	.unit = "datagram",
	.slots = { "udp-send", "udp-recv" },
	.default_rate = 100,
	.default_size = 1024,
	.smallest_size = SMALLEST,
	.largest_size = LARGEST,
	.set_up = set_up_udp,
	.op = op,
	.wait = wait,
	.tear_down = tear_down,
};

const struct load load_udp_peer = {
	.name = "udp-peer",
	.help = "the other end of udp; --listen, --size of a datagram (1024)",
	.unit = "datagram",
	.slots = { "udp-peer-send", "udp-peer-recv" },
	.default_rate = 100,
	.default_size = 1024,
	.smallest_size = SMALLEST,
	.largest_size = LARGEST,
	.set_up = set_up_peer,
	.op = op,
	.wait = wait,
	.tear_down = tear_down,
};
