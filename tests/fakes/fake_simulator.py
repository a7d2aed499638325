"""A simulator that simulates nothing: a Python program in Bochs' place, with a real tape."""

from __future__ import annotations

import sys
from pathlib import Path

import vmjitter
from vmjitter.guest.tree import Tree

_HEAD = """
import re, sys, time
from pathlib import Path
sys.path.insert(0, {source!r})
from vmjitter.sim.tape import END, PROGRESS, TICK, Record, TapeReader, TapeWriter
text = Path({configuration!r}).read_text()
disk = dict(re.findall(r"ata1-(\\w+): type=disk, path=([^,]*),", text))
console = Path(re.search(r"com1: .*dev=(.*)", text)[1])
job = list(TapeReader(Path(disk["master"])).take())
tape = TapeWriter(Path(disk["slave"]))
def progress(where):
    tape.write(Record(kind=PROGRESS, head={{"where": where, "virtual_ns": 0}}))
"""


def fake_bochs(body: str) -> object:
    """What takes the place of `bochs_argv`: a program that finds its disks and runs ``body``."""

    def argv(_tools: Tree, configuration: Path) -> list[str]:
        source = str(Path(vmjitter.__file__).parent.parent)
        head = _HEAD.format(source=source, configuration=str(configuration))
        return [sys.executable, "-c", head + body]

    return argv
