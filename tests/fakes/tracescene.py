"""A built trace, parsed and placed as `vmjitter explain` does it."""

from __future__ import annotations

import json
from collections.abc import Callable

from fakes.tracemaker import OFFSET_NS, TraceMaker
from vmjitter.trace.clock import guest_clock
from vmjitter.trace.events import Source
from vmjitter.trace.meta import parse_meta
from vmjitter.trace.parsers.ftrace import parse_ftrace
from vmjitter.trace.parsers.qemu_log import parse_qemu_log
from vmjitter.trace.scene import Material, Scene, build_scene
from vmjitter.trace.window import Window

BOUND_NS = 300


def scene_of(
    maker: TraceMaker,
    *,
    edit: Callable[[str, list[str]], list[str]] = lambda _name, lines: lines,
    offset_ns: int = OFFSET_NS,
    **meta: object,
) -> Scene:
    """Parse what a maker has written.

    Args:
        maker: the trace.
        edit: may change the lines of each file before they are parsed.
        offset_ns: what the clock's measurement said.
        meta: changes of ``meta.json``.
    """
    files = {name: edit(name, text.splitlines()) for name, text in maker.files().items()}
    clock = guest_clock([(0, offset_ns, BOUND_NS), (10**11, offset_ns, BOUND_NS)])
    return build_scene(
        Material(
            meta=parse_meta(json.dumps(maker.meta(**meta)), "meta.json"),
            host=parse_ftrace(files["host.txt"], Source.HOST),
            guest=parse_ftrace(files["guest.txt"], Source.GUEST),
            qemu=parse_qemu_log(files["qemu.log"]),
            guest_clock=clock,
        )
    )


def windows_of(maker: TraceMaker) -> list[Window]:
    """The wake-ups of a maker."""
    return [Window(number, start, latency) for number, (start, latency) in enumerate(maker.windows)]
