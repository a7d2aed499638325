"""Both compilers, both architectures, the C unit tests, the sanitizers, the ABI claim."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from native.conftest import NATIVE, ROOT

PT_INTERP = 3
PT_NOTE = 4


def make(build: Path, *arguments: str) -> str:
    """Run native/Makefile with its output in `build`."""
    command = ["make", "-s", "-j2", "-C", str(ROOT / "native"), f"BUILD={build}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need_compiler(compiler: str, flag: str, scratch: Path) -> None:
    """Skip unless the compiler can link a program with this flag."""
    if shutil.which("make") is None or shutil.which(compiler) is None:
        pytest.skip(f"no make or no {compiler}; apt-get install make {compiler}")
    source = scratch / "try.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
    command = [compiler, flag, str(source), "-o", str(scratch / "try")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{compiler} {flag} does not link; apt-get install gcc-multilib")


@pytest.fixture(scope="session")
def build_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all builds of this module go."""
    return tmp_path_factory.mktemp("native")


@pytest.mark.parametrize("bits", ["64", "32"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_unit_tests_pass(compiler: str, bits: str, build_root: Path, tmp_path: Path) -> None:
    need_compiler(compiler, f"-m{bits}", tmp_path)
    output = make(build_root, f"CC={compiler}", f"ARCHES={bits}", "test")
    assert output.count(", 0 failed") == 3


@pytest.fixture(scope="session")
def sanitized(build_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of programs built with AddressSanitizer and UBSan; their unit tests passed."""
    need_compiler("gcc", "-fsanitize=address,undefined", tmp_path_factory.mktemp("try"))
    assert make(build_root, "CC=gcc", "asan").count(", 0 failed") == 3
    return build_root / "gcc" / "asan"


def run_sanitized(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:exitcode=99"}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment
    )


def test_probe_under_sanitizers(sanitized: Path, tmp_path: Path) -> None:
    # Without mlockall: the sanitizer's shadow memory cannot be locked.
    done = run_sanitized(
        sanitized / "probe",
        *("--policy", "other", "--no-mlockall", "-l", "100", "-h", "50"),
        *("--raw", tmp_path / "raw", "--warm-up", "10ms"),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["shm", "mem", "sched", "timer", "sem", "cpu", "disk-rw", "disk-sync", "disk-meta", "udp-peer"],
)
def test_loads_under_sanitizers(name: str, sanitized: Path, tmp_path: Path) -> None:
    listen = ["--listen", "127.0.0.1:0"] if name == "udp-peer" else []
    done = run_sanitized(sanitized / "load", name, "-D", "200ms", "--dir", tmp_path, *listen)
    assert done.returncode == 0, done.stderr


def program_headers(image: bytes) -> list[tuple[int, bytes]]:
    """Type and content of each program header of a little-endian ELF file."""
    wide = image[4] == 2
    start, entry_size, count = (
        struct.unpack_from("<Q14xHH", image, 32)
        if wide
        else struct.unpack_from("<I10xHH", image, 28)
    )
    headers = []
    for i in range(count):
        at = start + i * entry_size
        kind = struct.unpack_from("<I", image, at)[0]
        offset, size = (
            (
                struct.unpack_from("<Q", image, at + 8)[0],
                struct.unpack_from("<Q", image, at + 32)[0],
            )
            if wide
            else struct.unpack_from("<I8xI", image, at + 4)
        )
        headers.append((kind, image[offset : offset + size]))
    return headers


@pytest.mark.parametrize("architecture", ["i386", "x86_64"])
@pytest.mark.parametrize("program", ["probe", "load", "agent"])
def test_runs_on_any_kernel(program: str, architecture: str) -> None:
    """Static, and no note that demands a kernel version (glibc's ABI tag does)."""
    headers = program_headers((NATIVE / f"{program}-{architecture}").read_bytes())
    assert PT_INTERP not in [kind for kind, _ in headers]
    notes = b"".join(content for kind, content in headers if kind == PT_NOTE)
    assert b"GNU\0" not in notes


def test_i386_binaries_are_for_i386() -> None:
    image = (NATIVE / "probe-i386").read_bytes()
    assert struct.unpack_from("<H", image, 18)[0] == 3  # e_machine: EM_386


def test_second_build_compiles_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "hatch_build.py")], capture_output=True, text=True, check=True
    )
    assert "nothing" in done.stdout
