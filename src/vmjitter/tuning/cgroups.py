"""Control groups of a process, as directories (cgroups(7))."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from vmjitter.effects.systree import SysTree

_ROOT: Final = "/sys/fs/cgroup"


def groups_v2(tree: SysTree, process: str) -> list[str]:
    """The process's group and all above it, of the one hierarchy of version 2.

    Args:
        tree: where /proc and /sys are.
        process: a process id, or "self".
    """
    for hierarchy, _, path in _lines(tree, process):
        if hierarchy == "0":
            mount = f"{_ROOT}/unified" if tree.exists(f"{_ROOT}/unified") else _ROOT
            return _upwards(mount, path)
    return []


def groups_v1(tree: SysTree, process: str, controller: str) -> list[str]:
    """The same for a controller of version 1; none if it is not used."""
    for _, controllers, path in _lines(tree, process):
        if controller in controllers.split(","):
            mounts = (f"{_ROOT}/{controllers}", f"{_ROOT}/{controller}")
            mount = next((one for one in mounts if tree.exists(one)), "")
            return _upwards(mount, path) if mount else []
    return []


def _lines(tree: SysTree, process: str) -> list[tuple[str, str, str]]:
    text = tree.read(f"/proc/{process}/cgroup") or ""
    parts = (line.split(":", 2) for line in text.splitlines())
    return [(one[0], one[1], one[2]) for one in parts if len(one) == 3]


def _upwards(mount: str, path: str) -> list[str]:
    group = PurePosixPath(path)
    every = [group, *group.parents]
    return [f"{mount}{one}" if str(one) != "/" else mount for one in every]
