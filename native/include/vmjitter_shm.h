/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory shared between host and guest, and the raw sample stream.
 *
 * One file on the host (the backing file of QEMU's ivshmem-plain, or a plain
 * file for measurements without a guest) is laid out as below.  The Python
 * side is src/vmjitter/guest/layout.py; tests/native/test_layout.py compares
 * every offset.
 *
 * Rules that make the layout the same for i386 and x86-64, and for host and guest:
 *   - little-endian; every field naturally aligned by explicit padding, because the
 *     i386 ABI aligns 64-bit members to 4 bytes only;
 *   - whatever one side polls while the other writes is 32 bits wide, since a 32-bit
 *     guest cannot store 64 bits in one access;
 *   - a 64-bit field is written before the 32-bit field that announces it, with a
 *     release store; the reader loads that 32-bit field with acquire.
 *
 * All times are nanoseconds.  "guest clock" is CLOCK_MONOTONIC of the machine on which
 * probe and loads run (the host itself in the scenario `native`).
 */
#ifndef VMJITTER_SHM_H
#define VMJITTER_SHM_H

#include <stdint.h>

#define VMJ_SHM_MAGIC "VMJSHM\0\0"    /* 8 bytes */
#define VMJ_STREAM_MAGIC "VMJSTRM\0"  /* 8 bytes */
#define VMJ_SHM_VERSION 1u
#define VMJ_STREAM_VERSION 1u

/* Fixed offsets of the regions, in bytes from the start of the memory. */
#define VMJ_OFF_HEADER 0x0000u
#define VMJ_OFF_CONTROL 0x0100u
#define VMJ_OFF_CLOCK 0x0200u
#define VMJ_OFF_COMMAND 0x1000u /* argv of the agent's next command */
#define VMJ_COMMAND_CAP 0x4000u
#define VMJ_OFF_REPLY 0x5000u   /* output of the agent's last command */
#define VMJ_REPLY_CAP 0x20000u
#define VMJ_OFF_PROBE 0x25000u  /* struct vmj_probe_result */
#define VMJ_OFF_LOADS 0x26000u  /* struct vmj_load_slot [VMJ_LOAD_SLOTS] */
#define VMJ_LOAD_SLOTS 32u
#define VMJ_LOAD_HISTORY 4096u  /* seconds of history per load, a ring */
#define VMJ_OFF_STREAM 0xc0000u /* struct vmj_stream_header, then the ring */
#define VMJ_OFF_RING 0xc1000u   /* struct vmj_sample [ring_records] */

/* Written by the host before anything else maps the memory. */
struct vmj_shm_header {
	char magic[8];
	uint32_t version;
	uint32_t reserved0;
	uint64_t total_bytes;  /* size of the whole memory */
	uint64_t ring_records; /* capacity of the ring, a power of two */
};

enum vmj_agent_state {
	VMJ_AGENT_ABSENT = 0,
	VMJ_AGENT_READY = 1,  /* idle, polls cmd_seq */
	VMJ_AGENT_BUSY = 2,   /* runs a command; does not poll */
	VMJ_AGENT_CLOCK = 3,  /* spins on the clock cell */
};

/* Command channel: the host writes the command, then cmd_seq; the agent runs it, writes
 * the reply, then rep_seq.  One command at a time. */
struct vmj_control {
	uint32_t stop;        /* host: the probe ends at its next activation */
	uint32_t load_stop;   /* host: loads end */
	uint32_t agent_state; /* guest: enum vmj_agent_state */
	uint32_t heartbeat;   /* guest: counts idle rounds of the agent */
	uint32_t cmd_seq;     /* host */
	uint32_t cmd_len;     /* host: bytes in the command region */
	uint32_t rep_seq;     /* guest: equals cmd_seq when the reply is complete */
	uint32_t rep_len;     /* guest: bytes in the reply region (the last ones of the output) */
	int32_t rep_status;   /* guest: exit status; 128 + signal; -errno if not started */
	uint32_t reserved0;
	uint64_t init_ns;     /* guest clock when the agent started as process 1 */
	uint64_t ready_ns;    /* guest clock when it became ready for the first time */
};

/* Clock ping-pong.  Host: t1; clock_req = n; spin until clock_ack == n; t2.
 * Guest: sees n, reads its clock and TSC, writes them, then clock_ack = n. */
struct vmj_clock_cell {
	uint32_t clock_req;
	uint32_t reserved0[15]; /* req and ack on cache lines of their own */
	uint32_t clock_ack;
	uint32_t reserved1;
	uint64_t guest_ns;
	uint64_t guest_tsc;
};

enum vmj_run_state {
	VMJ_RUN_NONE = 0,
	VMJ_RUN_STARTING = 1,
	VMJ_RUN_RUNNING = 2,
	VMJ_RUN_DONE = 3,
	VMJ_RUN_FAILED = 4,
};

/* The proofs that the probe's run was sound; see docs/method/measurement.md. */
struct vmj_probe_result {
	uint32_t state;            /* enum vmj_run_state */
	uint32_t written;          /* activations recorded so far, modulo 2^32; release */
	uint32_t overruns;         /* of these, missed */
	int32_t pid;
	int32_t policy;            /* read back: SCHED_* */
	int32_t priority;          /* read back */
	int32_t policy_after;      /* read back after the run */
	int32_t priority_after;
	uint64_t affinity;         /* read back: first 64 CPUs */
	uint64_t affinity_after;
	uint64_t period_ns;
	uint64_t loops;            /* activations asked for */
	uint64_t t0_ns;            /* guest clock of activation 0 (planned) */
	uint64_t end_ns;           /* guest clock after the last record */
	uint64_t tsc0;             /* TSC read together with start_ns */
	uint64_t start_ns;
	uint64_t tsc1;             /* TSC read together with end_ns */
	uint64_t tsc_hz;           /* (tsc1 - tsc0) / (end_ns - start_ns); 0 without a TSC */
	uint64_t clock_cost_ns;    /* smallest difference of two consecutive clock reads */
	uint64_t clock_res_ns;     /* clock_getres */
	uint64_t minflt, majflt;   /* of the probe's thread, during the run */
	uint64_t nvcsw, nivcsw;
	uint32_t mlocked;          /* 1: mlockall succeeded */
	uint32_t reserved0;
	char clocksource_before[32];
	char clocksource_after[32];
	char message[256];         /* why it failed */
};

/* One per load and direction.  ops and history are modulo 2^32. */
struct vmj_load_slot {
	char name[24];
	uint32_t state;            /* enum vmj_run_state */
	int32_t pid;
	uint64_t start_ns;         /* guest clock at the start of second 0 */
	uint64_t rate;             /* operations per second asked for; 0: as many as possible */
	uint32_t ops;              /* operations completed, modulo 2^32 */
	uint32_t errors;           /* operations that failed */
	uint32_t second;           /* the second that is being filled */
	int32_t exit_status;
	char unit[24];             /* what one operation is, e.g. "64 KiB block" */
	char message[168];         /* why it failed */
	uint32_t history[VMJ_LOAD_HISTORY]; /* operations per second; [s % VMJ_LOAD_HISTORY] */
};

/* Head of the ring and of a raw stream file; records follow it in a file at once, in the
 * shared memory at VMJ_OFF_RING.  Record number k is activation k, planned for
 * t0_ns + k * period_ns; in the ring it stands at index k & (ring_records - 1). */
struct vmj_stream_header {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;     /* sizeof(struct vmj_stream_header) */
	uint32_t record_bytes;     /* sizeof(struct vmj_sample) */
	uint32_t clock_id;         /* clockid_t of latency and t0: CLOCK_MONOTONIC = 1 */
	uint64_t period_ns;
	uint64_t t0_ns;
	uint64_t tsc_hz;           /* 0: not known (yet) */
	uint64_t loops;            /* activations asked for; 0: no end */
	uint64_t reserved0;
};

/* An activation that had passed before its predecessor woke up: an overrun. */
#define VMJ_MISSED INT64_MIN

struct vmj_sample {
	int64_t latency_ns; /* actual minus planned wake-up, signed; VMJ_MISSED */
	uint64_t tsc;       /* at wake-up; 0 for a missed activation and without a TSC */
};

/* Sizes that both sides rely on. */
_Static_assert(sizeof(struct vmj_shm_header) == 32, "vmj_shm_header");
_Static_assert(sizeof(struct vmj_control) == 56, "vmj_control");
_Static_assert(sizeof(struct vmj_clock_cell) == 88, "vmj_clock_cell");
_Static_assert(sizeof(struct vmj_probe_result) == 488, "vmj_probe_result");
_Static_assert(sizeof(struct vmj_load_slot) == 256 + 4 * VMJ_LOAD_HISTORY, "vmj_load_slot");
_Static_assert(sizeof(struct vmj_stream_header) == 64, "vmj_stream_header");
_Static_assert(sizeof(struct vmj_sample) == 16, "vmj_sample");
_Static_assert(VMJ_OFF_LOADS + VMJ_LOAD_SLOTS * sizeof(struct vmj_load_slot) <= VMJ_OFF_STREAM,
	       "load slots overlap the stream");

#endif
