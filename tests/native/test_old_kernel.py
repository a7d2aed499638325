"""The programs on the system calls of Linux 2.6.32: everything newer answers ENOSYS.

Such a kernel cannot be had here, but its table of system calls can: a seccomp filter refuses what
was added later, as the old kernel would.  The last calls of 2.6.32 are perf_event_open, 336 on i386
and 298 on x86-64 (arch/x86/kernel/syscall_table_32.S and include/asm/unistd_64.h of that version).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmjitter.guest.image import native_program

# Runs argv[1:] under the filter.  Offsets in struct seccomp_data: nr 0, arch 4 (seccomp(2)).
_UNDER_2_6_32 = """
import ctypes, os, struct, sys
LD, JEQ, JGT, RET = 0x20, 0x15, 0x25, 0x06
ALLOW, ENOSYS = 0x7FFF0000, 0x00050000 | 38
program = [
    (LD, 0, 0, 4),
    (JEQ, 0, 2, 0x40000003),          # AUDIT_ARCH_I386
    (LD, 0, 0, 0), (JGT, 3, 2, 336),
    (LD, 0, 0, 0), (JGT, 1, 0, 298),
    (RET, 0, 0, ALLOW),
    (RET, 0, 0, ENOSYS),
]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
fprog = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0                       # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.c_char_p(fprog)) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
os.execv(sys.argv[1], sys.argv[1:])
"""


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _UNDER_2_6_32, str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_filter_does_refuse_newer_calls() -> None:
    # getrandom is 318 on x86-64, of Linux 3.17
    done = _run(Path("/bin/sh"), "-c", f"{sys.executable} -c 'import os; os.getrandom(1)'")
    assert "Function not implemented" in done.stderr


@pytest.mark.parametrize("arch", ["i386", "x86_64"])
def test_the_probe_measures(arch: str) -> None:
    probe = native_program("probe", arch)
    done = _run(probe, "-l", "100", "-i", "1000", "--policy", "other", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["count"] + result["overruns"] == 100
    assert result["min_ns"] is not None


@pytest.mark.parametrize("arch", ["i386", "x86_64"])
@pytest.mark.parametrize(
    "load", ["shm", "mem", "sched", "timer", "sem", "cpu", "disk-rw", "disk-sync", "disk-meta"]
)
def test_the_loads_run(load: str, arch: str, tmp_path: Path) -> None:
    program = native_program("load", arch)
    disk = ("--dir", str(tmp_path)) if load.startswith("disk") else ()
    done = _run(program, load, "--duration", "1", "--rate", "20", "--json", *disk)
    assert done.returncode == 0, done.stderr
    assert '"errors":0' in done.stdout.replace(" ", "")
