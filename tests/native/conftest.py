"""Built binaries, and memory laid out as the host does it."""

from __future__ import annotations

import json
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "src" / "vmjitter" / "_native"
RING_RECORDS = 4096


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 20) -> None:
    """Wait for a condition; generous, so that only a hang fails."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.005)


class Memory:
    """The shared memory as a plain file, addressed by the names that the C side reports."""

    def __init__(self, path: Path, layout: dict[str, Any]) -> None:
        self.path = path
        self.layout = layout
        self.constants: dict[str, int] = layout["constants"]
        size = self.constants["VMJ_OFF_RING"] + RING_RECORDS * 16
        with path.open("wb") as file:
            file.truncate(size)
        with path.open("r+b") as file:
            self.bytes = mmap.mmap(file.fileno(), size)
        self.bytes[0:32] = struct.pack("<8sIIQQ", b"VMJSHM", 1, 0, size, RING_RECORDS)

    def _at(self, struct_name: str, field: str, base: int) -> tuple[int, int]:
        offset, size = self.layout["structs"][struct_name]["fields"][field]
        return base + offset, size

    def _base(self, struct_name: str, slot: int) -> int:
        regions = {
            "vmj_control": "VMJ_OFF_CONTROL",
            "vmj_clock_cell": "VMJ_OFF_CLOCK",
            "vmj_probe_result": "VMJ_OFF_PROBE",
            "vmj_stream_header": "VMJ_OFF_STREAM",
            "vmj_load_slot": "VMJ_OFF_LOADS",
        }
        size: int = self.layout["structs"][struct_name]["size"]
        return self.constants[regions[struct_name]] + slot * size

    def number(self, struct_name: str, field: str, *, slot: int = 0) -> int:
        """Read an unsigned field of 32 or 64 bits."""
        at, size = self._at(struct_name, field, self._base(struct_name, slot))
        return int.from_bytes(self.bytes[at : at + size], "little")

    def signed(self, struct_name: str, field: str) -> int:
        """Read a signed field."""
        at, size = self._at(struct_name, field, self._base(struct_name, 0))
        return int.from_bytes(self.bytes[at : at + size], "little", signed=True)

    def text(self, struct_name: str, field: str, *, slot: int = 0) -> str:
        """Read a character array up to its NUL."""
        at, size = self._at(struct_name, field, self._base(struct_name, slot))
        return self.bytes[at : at + size].split(b"\0", 1)[0].decode()

    def set(self, struct_name: str, field: str, value: int) -> None:
        """Write an unsigned field."""
        at, size = self._at(struct_name, field, self._base(struct_name, 0))
        self.bytes[at : at + size] = value.to_bytes(size, "little")

    def history(self, slot: int) -> list[int]:
        """Operations per second of a load, up to the second that is being filled."""
        at, _ = self._at("vmj_load_slot", "history", self._base("vmj_load_slot", slot))
        seconds = self.number("vmj_load_slot", "second", slot=slot) + 1
        return list(struct.unpack_from(f"<{seconds}I", self.bytes, at))

    def samples(self, count: int) -> list[tuple[int, int]]:
        """Records of the ring: latency and TSC."""
        start = self.constants["VMJ_OFF_RING"]
        return list(struct.iter_unpack("<qQ", self.bytes[start : start + 16 * count]))


@pytest.fixture(scope="session", autouse=True)
def native_binaries() -> None:
    """Bring ``src/vmjitter/_native`` up to date, as a package build would."""
    subprocess.run([sys.executable, str(ROOT / "hatch_build.py")], check=True, cwd=ROOT)


@pytest.fixture(scope="session", params=["i386", "x86_64"])
def arch(request: pytest.FixtureRequest) -> str:
    """Each architecture that this machine runs."""
    name = str(request.param)
    if os.uname().machine != "x86_64":
        pytest.skip("needs an x86-64 machine to run the guest's programs; use one")
    if not runs(NATIVE / f"probe-{name}"):
        pytest.skip(f"this kernel runs no {name} programs; enable CONFIG_IA32_EMULATION")
    return name


def runs(program: Path) -> bool:
    """Whether this machine can execute a program at all."""
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True)
    except OSError:
        return False
    return True


@pytest.fixture
def probe(arch: str) -> str:
    """Path of the probe."""
    return str(NATIVE / f"probe-{arch}")


@pytest.fixture
def load(arch: str) -> str:
    """Path of the load program."""
    return str(NATIVE / f"load-{arch}")


@pytest.fixture
def agent(arch: str) -> str:
    """Path of the agent."""
    return str(NATIVE / f"agent-{arch}")


@pytest.fixture
def layout(probe: str) -> dict[str, Any]:
    """The shared header as the C compiler laid it out."""
    done = subprocess.run([probe, "--layout"], check=True, capture_output=True, text=True)
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


@pytest.fixture
def memory(tmp_path: Path, layout: dict[str, Any]) -> Iterator[Memory]:
    """Fresh shared memory in a plain file."""
    made = Memory(tmp_path / "shm", layout)
    yield made
    made.bytes.close()
