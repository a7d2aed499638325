"""Layout of the memory shared with the guest; the twin of ``native/include/vmjitter_shm.h``.

``tests/native/test_layout.py`` compares every size and offset with what the C side says.
"""

from __future__ import annotations

import ctypes
from typing import Final

SHM_MAGIC: Final = b"VMJSHM\0\0"
STREAM_MAGIC: Final = b"VMJSTRM\0"
VERSION: Final = 1

OFF_HEADER: Final = 0x0000
OFF_CONTROL: Final = 0x0100
OFF_CLOCK: Final = 0x0200
OFF_COMMAND: Final = 0x1000
COMMAND_CAP: Final = 0x4000
OFF_REPLY: Final = 0x5000
REPLY_CAP: Final = 0x20000
OFF_PROBE: Final = 0x25000
OFF_LOADS: Final = 0x26000
LOAD_SLOTS: Final = 32
LOAD_HISTORY: Final = 4096
OFF_STREAM: Final = 0xC0000
OFF_RING: Final = 0xC1000

RECORD_BYTES: Final = 16
MISSED: Final = -(1 << 63)
"""Latency of an activation that had passed before its predecessor woke up."""

AGENT_ABSENT: Final = 0
AGENT_READY: Final = 1
AGENT_BUSY: Final = 2
AGENT_CLOCK: Final = 3

RUN_NONE: Final = 0
RUN_STARTING: Final = 1
RUN_RUNNING: Final = 2
RUN_DONE: Final = 3
RUN_FAILED: Final = 4

CLOCK_END: Final = 0xFFFFFFFF
"""Value of ``clock_req`` that ends a ping-pong."""

_u32 = ctypes.c_uint32
_u64 = ctypes.c_uint64
_i32 = ctypes.c_int32


class ShmHeader(ctypes.LittleEndianStructure):
    """Written by the host before anything else maps the memory."""

    _fields_ = (
        ("magic", ctypes.c_char * 8),
        ("version", _u32),
        ("reserved0", _u32),
        ("total_bytes", _u64),
        ("ring_records", _u64),
    )


class Control(ctypes.LittleEndianStructure):
    """Stop words and the command channel."""

    _fields_ = (
        ("stop", _u32),
        ("load_stop", _u32),
        ("agent_state", _u32),
        ("heartbeat", _u32),
        ("cmd_seq", _u32),
        ("cmd_len", _u32),
        ("rep_seq", _u32),
        ("rep_len", _u32),
        ("rep_status", _i32),
        ("reserved0", _u32),
        ("init_ns", _u64),
        ("ready_ns", _u64),
    )


class ClockCell(ctypes.LittleEndianStructure):
    """The cache lines of the clock ping-pong."""

    _fields_ = (
        ("clock_req", _u32),
        ("reserved0", _u32 * 15),
        ("clock_ack", _u32),
        ("reserved1", _u32),
        ("guest_ns", _u64),
        ("guest_tsc", _u64),
    )


class ProbeResult(ctypes.LittleEndianStructure):
    """The probe's proofs; ``written`` announces records while it runs."""

    _fields_ = (
        ("state", _u32),
        ("written", _u32),
        ("overruns", _u32),
        ("pid", _i32),
        ("policy", _i32),
        ("priority", _i32),
        ("policy_after", _i32),
        ("priority_after", _i32),
        ("affinity", _u64),
        ("affinity_after", _u64),
        ("period_ns", _u64),
        ("loops", _u64),
        ("t0_ns", _u64),
        ("end_ns", _u64),
        ("tsc0", _u64),
        ("start_ns", _u64),
        ("tsc1", _u64),
        ("tsc_hz", _u64),
        ("clock_cost_ns", _u64),
        ("clock_res_ns", _u64),
        ("minflt", _u64),
        ("majflt", _u64),
        ("nvcsw", _u64),
        ("nivcsw", _u64),
        ("mlocked", _u32),
        ("reserved0", _u32),
        ("clocksource_before", ctypes.c_char * 32),
        ("clocksource_after", ctypes.c_char * 32),
        ("message", ctypes.c_char * 256),
    )


class LoadSlot(ctypes.LittleEndianStructure):
    """One load and direction, with its operations per second."""

    _fields_ = (
        ("name", ctypes.c_char * 24),
        ("state", _u32),
        ("pid", _i32),
        ("start_ns", _u64),
        ("rate", _u64),
        ("ops", _u32),
        ("errors", _u32),
        ("second", _u32),
        ("exit_status", _i32),
        ("unit", ctypes.c_char * 24),
        ("message", ctypes.c_char * 168),
        ("history", _u32 * LOAD_HISTORY),
    )


class StreamHeader(ctypes.LittleEndianStructure):
    """Head of the ring and of a raw stream file."""

    _fields_ = (
        ("magic", ctypes.c_char * 8),
        ("version", _u32),
        ("header_bytes", _u32),
        ("record_bytes", _u32),
        ("clock_id", _u32),
        ("period_ns", _u64),
        ("t0_ns", _u64),
        ("tsc_hz", _u64),
        ("loops", _u64),
        ("reserved0", _u64),
    )
