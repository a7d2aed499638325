"""Disturbances that are caused on purpose, to see whether they are found."""

from __future__ import annotations

from dataclasses import dataclass

from vmjitter.units import Ns


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One kind of disturbance.

    Attributes:
        kind: its name, see `vmjitter.inject.kinds`.
        length_ns: how long it lasts, as far as that can be chosen.
    """

    kind: str
    length_ns: Ns
