"""From values and their sources to a `Plan`, and back to a TOML text that says both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmjitter.config.parse import names, nearest
from vmjitter.config.settings import Setting
from vmjitter.config.sources import (
    Value,
    all_settings,
    find_plan,
    read_assignments,
    read_environment,
    read_machine,
    read_plan,
)
from vmjitter.errors import UsageError
from vmjitter.loads.catalog import LOADS
from vmjitter.model.judge import Target, checked
from vmjitter.model.plan import (
    Disk,
    GuestSpec,
    LoadSpec,
    Network,
    Plan,
    ProbeSpec,
    Scenario,
    Where,
    WireSpec,
)
from vmjitter.model.sim import Bench, SimSpec
from vmjitter.model.trace import TraceSpec
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.recipes import recipe_knobs


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What flags and environment add to a plan file.

    Attributes:
        flags: by key, with the flag's own name as source.
        only: the scenarios to measure, in the plan's order; empty means all.
        only_flag: the flag that chose them.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    flags: Mapping[str, Value] = field(default_factory=dict)
    only: Sequence[str] = ()
    only_flag: str = "--only"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A plan, and the same as TOML with the source of every value."""

    plan: Plan
    toml: str


def resolve(name: str, choices: Choices) -> Resolved:
    """Read a plan by name or file and apply what the user chose on top.

    Raises:
        UsageError: an unknown key, scenario or name, or a value of the wrong kind; names the
            place, what was expected and the nearest valid name.
    """
    path = find_plan(name)
    from_plan, scenarios = read_plan(path)
    known = all_settings(scenarios)
    values = _with_recipes(_layered(known, from_plan, choices), scenarios)
    parsed = {key: _parse(key, value, known[key].parse) for key, value in values.items()}
    plan = _plan(path.stem, parsed, _chosen(scenarios, choices))
    _check(plan)
    return Resolved(plan=plan, toml=_as_toml(path.stem, values, plan))


def resolve_machine(choices: Choices) -> SimSpec:
    """The simulated host that the user chose, without a plan.

    Raises:
        UsageError: as `resolve`.
    """
    known = all_settings(())
    values = _layered(known, {"bench.name": Value(Bench.SIM.value, "vmjitter sim")}, choices)
    return _sim({key: _parse(key, value, known[key].parse) for key, value in values.items()})


def _layered(
    known: Mapping[str, Setting], from_plan: Mapping[str, Value], choices: Choices
) -> dict[str, Value]:
    """Every setting with the value that wins."""
    defaults = {key: Value(setting.default, "default") for key, setting in known.items()}
    layers = (
        dict(from_plan),
        read_environment(choices.environ, list(known)),
        dict(choices.flags),
        read_assignments(choices.assignments),
    )
    chosen: dict[str, Value] = {}
    for layer in layers:
        for key, value in layer.items():
            if key not in known:
                raise UsageError(
                    f"{value.source}: there is no key {key!r}", hint=nearest(key, known)
                )
            chosen[key] = value
    return {**defaults, **_machine({**defaults, **chosen}), **chosen}


def _machine(values: Mapping[str, Value]) -> dict[str, Value]:
    """What the simulated host's machine file says, where one is used."""
    if values["bench.name"].raw != Bench.SIM:
        return {}
    return read_machine(str(values["sim.machine"].raw))


def _parse(key: str, value: Value, parse: Any) -> Any:  # noqa: ANN401 - the table's types
    try:
        return parse(value.raw)
    except UsageError as error:
        raise UsageError(f"{value.source}: {key}: {error.message}", hint=error.hint) from error


def _chosen(scenarios: Sequence[str], choices: Choices) -> tuple[str, ...]:
    only = choices.only
    for name in only:
        if name not in scenarios:
            raise UsageError(
                f"{choices.only_flag} {name}: the plan has no such scenario",
                hint=nearest(name, scenarios),
            )
    return tuple(name for name in scenarios if not only or name in only)


def _plan(name: str, parsed: Mapping[str, Any], scenarios: Sequence[str]) -> Plan:
    pair = parsed["plan.pair"]
    return Plan(
        name=name,
        title=parsed["plan.title"],
        target=_target(parsed),
        disk_bytes=parsed["disk.size"],
        probe=ProbeSpec(
            period_ns=parsed["probe.period"],
            loops=parsed["probe.loops"],
            policy=parsed["probe.policy"],
            priority=parsed["probe.priority"],
        ),
        guest=_guest(parsed),
        scenarios=tuple(_scenario(name, parsed) for name in scenarios),
        pair=_pair(pair, scenarios),
        disk_dir=parsed["disk.dir"],
        wire=WireSpec(delay_ns=parsed["wire.delay"]),
        bench=parsed["bench.name"],
        sim=_sim(parsed),
        rounds=parsed["plan.rounds"],
        trace=_trace(parsed),
        inject_distance_ns=parsed["inject.distance"],
    )


def _target(parsed: Mapping[str, Any]) -> Target:
    return checked(
        Target(
            deadline_ns=parsed["judge.deadline"],
            max_misses_per_hour=parsed["judge.max_misses_per_hour"],
            confidence_percent=parsed["judge.confidence"],
        )
    )


def _pair(pair: Sequence[str], scenarios: Sequence[str]) -> tuple[str, str] | None:
    """The before/after pair, if both of its scenarios are measured."""
    if len(pair) != 2 or not set(pair) <= set(scenarios):
        return None
    return pair[0], pair[1]


def _guest(parsed: Mapping[str, Any]) -> GuestSpec:
    return GuestSpec(
        kernel=parsed["guest.kernel"],
        kernel_file=parsed["guest.kernel_file"],
        modules_dir=parsed["guest.modules_dir"],
        busybox=parsed["guest.busybox"],
        memory_bytes=parsed["guest.memory"],
        vcpus=parsed["guest.vcpus"],
        host_cpus=parsed["guest.host_cpus"],
        accel=parsed["guest.accel"],
        boot_timeout_ns=parsed["guest.boot_timeout"],
        append=parsed["guest.append"],
    )


def _sim(parsed: Mapping[str, Any]) -> SimSpec:
    return SimSpec(
        machine=parsed["sim.machine"],
        title=parsed["sim.title"],
        clock=parsed["sim.clock"],
        cpus=parsed["sim.cpus"],
        cpu_model=parsed["sim.cpu_model"],
        quantum=parsed["sim.quantum"],
        memory_bytes=parsed["sim.memory"],
        kernel=parsed["sim.kernel"],
        append=parsed["sim.append"],
        disk_bytes=parsed["sim.disk_size"],
        disk_depth=parsed["sim.disk_depth"],
        disk_latency_ns=parsed["sim.disk_latency"],
        seed=parsed["sim.seed"],
        jobs=parsed["sim.jobs"],
        stall_ns=parsed["sim.stall_timeout"],
        repeats=parsed["sim.repeats"],
    )


def _trace(parsed: Mapping[str, Any]) -> TraceSpec:
    return TraceSpec(
        enabled=parsed["trace.enabled"],
        break_ns=parsed["trace.break"],
        threshold_ns=parsed["trace.threshold"],
        buffer_bytes=parsed["trace.buffer"],
        keep_bytes=parsed["trace.keep"],
        events=parsed["trace.events"],
        qemu=parsed["trace.qemu"],
        guest=parsed["trace.guest"],
    )


def _scenario(name: str, parsed: Mapping[str, Any]) -> Scenario:
    def get(key: str) -> Any:  # noqa: ANN401 - the table's types
        return parsed[f"scenario.{name}.{key}"]

    scenario = Scenario(
        name=name,
        title=get("title") or name,
        where=get("where"),
        loads=_loads(get("loads"), parsed),
        host_loads=_host_loads(get("host_loads"), parsed),
        host_load_cpus=get("host_load_cpus"),
        disk=get("disk"),
        network=get("network"),
        vhost=get("vhost"),
        knobs=get("knobs"),
        paper_max_ns=get("paper_max"),
        mitigations=get("mitigations"),
        inject=get("inject"),
        trace=get("trace"),
        kernel=_kernel(get("where"), get("kernel") or "", parsed),
    )
    return _with_knobs(scenario) if scenario.where is Where.GUEST else scenario


def _kernel(where: Where, own: str, parsed: Mapping[str, Any]) -> str:
    """The name of a scenario's kernel; empty for a file, and where there is no guest."""
    if own or where is Where.HOST or parsed["guest.kernel_file"] is not None:
        return own
    return str(parsed["guest.kernel"])


def _with_knobs(scenario: Scenario) -> Scenario:
    for knob in scenario.knobs:
        try:
            scenario = KNOBS[knob].on_scenario(scenario)
        except UsageError as error:
            place = f"scenario.{scenario.name}.knobs: {knob}"
            raise UsageError(f"{place}: {error.message}", hint=error.hint) from error
    return scenario


def _loads(names: Sequence[str], parsed: Mapping[str, Any]) -> tuple[LoadSpec, ...]:
    return tuple(LoadSpec(name=name, rate=parsed[f"load.{name}.rate"]) for name in names)


def _host_loads(names: Sequence[str], parsed: Mapping[str, Any]) -> tuple[LoadSpec, ...]:
    own = {name: parsed[f"host_load.{name}.rate"] for name in names}
    return tuple(
        load if own[load.name] is None else LoadSpec(name=load.name, rate=own[load.name])
        for load in _loads(names, parsed)
    )


def _with_recipes(values: dict[str, Value], scenarios: Sequence[str]) -> dict[str, Value]:
    """Put the knobs of each scenario's recipe before its own, so that the plan needs no recipe.

    A simulated host has none, and a later vmjitter may have another of that name.
    """
    changed: dict[str, Value] = {}
    for name in scenarios:
        recipe, knobs = (values[f"scenario.{name}.{key}"] for key in ("recipe", "knobs"))
        if not recipe.raw:
            continue
        own = _parse(f"scenario.{name}.knobs", knobs, names(KNOBS, "knob"))
        every = list(dict.fromkeys((*recipe_knobs(str(recipe.raw)), *own)))
        source = f"recipe {recipe.raw} ({recipe.source}), then {knobs.source}"
        changed[f"scenario.{name}.knobs"] = Value(every, source)
        changed[f"scenario.{name}.recipe"] = Value("", f"its knobs are in knobs; {recipe.source}")
    return {**values, **changed}


def _check(plan: Plan) -> None:
    if plan.probe.period_ns <= 0:
        raise UsageError("probe.period: must be longer than nothing", hint="write e.g. 1ms")
    if plan.inject_distance_ns <= 0:
        raise UsageError("inject.distance: must be longer than nothing", hint="write e.g. 20ms")
    for scenario in plan.scenarios:
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", scenario.name):
            raise UsageError(
                f"{scenario.name!r} cannot be the name of a scenario",
                hint="use letters, digits, dots, dashes and underscores",
            )
        _check_loads(scenario)
        if scenario.where is Where.GUEST:
            _check_devices(scenario)
        else:
            _check_no_guest(scenario)


def _check_no_guest(scenario: Scenario) -> None:
    if scenario.kernel:
        raise UsageError(
            f"scenario.{scenario.name}.kernel: there is no guest to boot",
            hint='remove the kernel, or set where = "guest"',
        )
    for key, values in (("knobs", scenario.knobs), ("inject", scenario.inject)):
        if values:
            raise UsageError(
                f"scenario.{scenario.name}.{key}: there is no QEMU to change",
                hint=f'remove the {key}, or set where = "guest"',
            )


def _check_loads(scenario: Scenario) -> None:
    """Each load counts in slots of its own, which it has once per side."""
    for key, loads in (("loads", scenario.loads), ("host_loads", scenario.host_loads)):
        names = [load.name for load in loads]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(
                    f"scenario.{scenario.name}.{key}: {name} is there more than once",
                    hint="name it once, and raise its rate for more of it",
                )
    if scenario.host_loads and scenario.where is Where.HOST:
        raise UsageError(
            f"scenario.{scenario.name}.host_loads: there is no guest to run beside",
            hint='add them to loads, or set where = "guest"',
        )


def _check_devices(scenario: Scenario) -> None:
    for load in scenario.loads:
        kind = LOADS[load.name]
        place = f"scenario.{scenario.name}: the load {load.name} needs"
        if kind.needs_disk and scenario.disk is Disk.NONE:
            raise UsageError(f"{place} a disk", hint='add disk = "virtio" or "ide"')
        if kind.needs_network and scenario.network is Network.NONE:
            raise UsageError(f"{place} a network", hint='add network = "virtio" or "e1000"')


def _as_toml(name: str, values: Mapping[str, Value], plan: Plan) -> str:
    chosen = {scenario.name for scenario in plan.scenarios}
    lines = [
        f"# The plan {name!r} as it was measured: every setting, and where its value came from.",
    ]
    table = ""
    for key in sorted(
        values, key=lambda key: (key.startswith("scenario."), key.rpartition(".")[0])
    ):
        head, _, last = key.rpartition(".")
        if head.startswith("scenario.") and head.removeprefix("scenario.") not in chosen:
            continue
        if head != table:
            table = head
            lines += ["", f"[{head}]"]
        lines.append(f"{last} = {_toml_value(values[key].raw)}  # {values[key].source}")
    return "\n".join(lines) + "\n"


def _toml_value(raw: object) -> str:
    """JSON's texts, numbers, booleans and lists of them are also TOML's (TOML 1.0)."""
    return json.dumps(raw, ensure_ascii=False)
