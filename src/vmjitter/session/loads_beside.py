"""Loads on the host while probe and loads run in a guest: the setting ``host_loads``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from vmjitter.effects.process import split_cpus
from vmjitter.effects.scratch import fd_path, scratch_directory
from vmjitter.loads.catalog import Placed, peer_argv, place_loads
from vmjitter.model.plan import LoadCpus
from vmjitter.session.context import TrialContext
from vmjitter.session.host_side import HostPrograms, load_place
from vmjitter.session.resources import Endpoint, endpoint, host_program
from vmjitter.session.running_loads import Party

LOG_NAME: Final = "host-loads.log"

_WHOSE: Final = {
    LoadCpus.GUEST: ", where the guest runs",
    LoadCpus.OTHER: ", beside the guest's",
    LoadCpus.ANY: "",
}
_SHARED: Final = ", as the guest"


@contextmanager
def loads_beside(context: TrialContext) -> Iterator[Party | None]:
    """The host's own loads of a trial, none of them started yet; None if it has none.

    Their files are next to the guest's disk image, so that both use the same disk.  ``udp`` runs
    over loopback: through the host's network stack, and not through the guest, which would make a
    load on the guest of it.  At the end everything that still runs is killed, and the files
    are removed, also if we are killed ourselves.

    Raises:
        MissingCapability: there are no native programs for this host.
    """
    scenario = context.scenario
    if not scenario.host_loads:
        yield None
        return
    program = host_program("load")
    log = context.writer.path / LOG_NAME
    log.touch()
    cpus, whose = cpus_for_loads(scenario.host_load_cpus, context.plan.guest.host_cpus)
    if whose == _SHARED and scenario.host_load_cpus is LoadCpus.OTHER:
        context.outcome.deviations.append("host loads on the guest's CPUs: it may use all of them")
    names = ", ".join(load.name for load in scenario.host_loads)
    context.outcome.conditions.append(f"host loads on CPU {_listed(cpus)}{whose}: {names}")
    with ExitStack() as stack:
        parent = context.plan.disk_dir or context.writer.path
        directory = stack.enter_context(scratch_directory(parent, ".scratch-host-"))
        loads = place_loads(scenario.host_loads, beside=True)
        peer = endpoint(None, from_guest=False)
        place = load_place(program, context.shm_fd, directory, peer.reached_at)
        side = HostPrograms(place, context.shm_fd, log, _listed(cpus))
        stack.enter_context(side)
        yield Party(side=side, loads=loads, peer=peer_of(program, context.shm_fd, peer, loads))


def cpus_for_loads(wanted: LoadCpus, guest_cpus: int) -> tuple[frozenset[int], str]:
    """The CPUs for loads on the host, of those that we may use, and in words whose they are.

    Args:
        wanted: the plan's choice.
        guest_cpus: how many CPUs QEMU is given, see `split_cpus`.
    """
    guest, other = split_cpus(guest_cpus)
    if guest == other:
        return guest, _SHARED
    usable = frozenset(os.sched_getaffinity(0))
    cpus = {LoadCpus.GUEST: guest, LoadCpus.OTHER: other, LoadCpus.ANY: usable}[wanted]
    return cpus, _WHOSE[wanted]


def peer_of(
    program: Path, shm_fd: int, place: Endpoint, loads: Sequence[Placed]
) -> tuple[str, ...] | None:
    """The command line of the other end of their ``udp``; None without one.

    Args:
        program: the native ``load``.
        shm_fd: the shared memory, as the program inherits it.
        place: where it listens.
        loads: of which one may be ``udp``.
    """
    for load in loads:
        if load.peer_slot is not None:
            return peer_argv(
                str(program),
                listen=place.listen,
                rate=load.spec.rate,
                shm_path=fd_path(shm_fd),
                slot=load.peer_slot,
                netns_fd=place.netns_fd,
            )
    return None


def _listed(cpus: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cpus)))
