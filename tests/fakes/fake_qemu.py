"""A process with threads that are named like QEMU's, which do nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NAMES = ("CPU 0/KVM", "CPU 1/KVM", "IO io0", "vhost-1", "worker")

_PROGRAM = """
import signal, sys, threading
from pathlib import Path
signal.alarm(120)
def role(name, ready):
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
    ready.set()
    threading.Event().wait()
for name in sys.argv[1:]:
    ready = threading.Event()
    threading.Thread(target=role, args=(name, ready), daemon=True).start()
    ready.wait()
print("ready", flush=True)
threading.Event().wait()
"""


@contextmanager
def fake_qemu(names: Sequence[str] = NAMES) -> Iterator[int]:
    """Its process id.  It ends with the context, and after two minutes at the latest."""
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *names], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
    finally:
        child.kill()
        child.communicate()
