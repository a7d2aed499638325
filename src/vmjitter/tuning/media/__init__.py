"""One file per medium: places that hold settings, by the names that the journal uses."""

from __future__ import annotations

from collections.abc import Mapping

from vmjitter.effects.systree import SysTree
from vmjitter.tuning.change import Medium
from vmjitter.tuning.media.cpus import Cpus
from vmjitter.tuning.media.dropin import DropIn
from vmjitter.tuning.media.file import File
from vmjitter.tuning.media.held import Held
from vmjitter.tuning.media.policy import SchedPolicy


def media(tree: SysTree | None = None) -> Mapping[str, Medium]:
    """All media, those that are files below the root of a tree."""
    tree = tree or SysTree()
    members: tuple[Medium, ...] = (File(tree), SchedPolicy(), Cpus(), DropIn(tree), Held(tree))
    return {medium.name: medium for medium in members}
