"""The results of a run in the terminal, legible from 80 columns on."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vmjitter.model.judge import Lack
from vmjitter.model.run import KnobChange, LoadResult
from vmjitter.report.ablation import ablation, ablation_block
from vmjitter.report.result import RunResult, TrialResult, paper_text
from vmjitter.report.verdict_text import finding_lines, verdict_block
from vmjitter.stats.summary import upper_share
from vmjitter.units import format_ns

_INVALID = "INVALID"
_BAD = "bold red"
_WARN = "yellow"
_HEAD = "bold"
_ASIDE = "dim"
_STRUCK = "dim strike"
_NONE = "\N{EN DASH}"
_FEW_PERCENT = 0.95
_NAME_COLUMNS = 24


def print_report(console: Console, result: RunResult, *, details: bool = True) -> None:
    """Print what a run says, in the layout that the terminal has room for.

    Args:
        console: where to.
        result: the run.
        details: also the conditions, loads and statistics of each trial; else only what is
            unusual about it, so that four trials fit on a screen.
    """
    room = console.options.update(width=10 * console.width)
    wide = Measurement.get(console, room, _framed(_table(result, wide=True))).maximum
    console.print(render(result, wide=wide <= console.width, details=details))


def render(result: RunResult, *, wide: bool, details: bool = True) -> RenderableType:
    """Lay out a run: head, table, verdict, remarks, and one paragraph per trial.

    Args:
        result: the run.
        wide: every figure has a column of its own; else two share one, above each other.
        details: see `print_report`.
    """
    parts: list[RenderableType] = [_head(result), _framed(_table(result, wide=wide))]
    contributions = ablation(result)
    if contributions is not None:
        parts.append(ablation_block(contributions))
    verdict = verdict_block(result)
    if verdict is not None:
        parts += [verdict, Text()]
    parts += [Padding(text, (0, 1)) for text in _remarks(result)]
    shared = {} if details else _shared_deviations(result)
    parts += [Padding(text, (0, 1)) for text in _for_several(shared)]
    for trial in result.trials:
        unusual = list(_unusual(trial, said=shared))
        if details:
            parts += [Text(), _details(trial, [*unusual, *_detail_lines(trial)])]
        elif unusual:
            parts += [Text(), _details(trial, unusual)]
    return Group(*parts)


def _shared_deviations(result: RunResult) -> dict[str, list[str]]:
    """Deviations that several trials have, with the names of the trials."""
    found: dict[str, list[str]] = {}
    for trial in result.trials:
        for deviation in trial.status.deviations:
            found.setdefault(deviation, []).append(trial.name)
    return {deviation: names for deviation, names in found.items() if len(names) > 1}


def _for_several(deviations: Mapping[str, list[str]]) -> Iterator[Text]:
    for deviation, names in deviations.items():
        yield Text(f"In {', '.join(names)}: {deviation}", _WARN)


def _head(result: RunResult) -> RenderableType:
    info = result.run.info
    text = Text(info.title or info.plan, _HEAD)
    begun = info.created_utc.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")
    origin = (info.plan, begun, f"vmjitter {info.vmjitter}" if info.vmjitter else "")
    for line in (", ".join(part for part in origin if part), _machine(result)):
        text.append(f"\n{line}" if line else "", f"not bold {_ASIDE}")
    return Padding(text, (1, 1))


def _machine(result: RunResult) -> str:
    """Processor, kernel and QEMU; the rest of the facts is in the JSON."""
    host, qemu = result.run.info.host, result.run.info.qemu
    kernel = host.get("kernel", "").removeprefix("Linux version ").split(" ")[0]
    version = qemu.get("version", "").removeprefix("QEMU emulator version ").split(" ")[0]
    simulation = result.run.info.simulation
    facts = {
        "simulated host ": simulation.get("machine"),
        "": host.get("cpu"),
        "Linux ": kernel,
        "QEMU ": version,
        "guest Linux ": qemu.get("kernel_release"),
    }
    return "; ".join(f"{word}{value}" for word, value in facts.items() if value)


def _framed(table: Table) -> Padding:
    return Padding(table, (0, 0, 1, 1))


def _table(result: RunResult, *, wide: bool) -> Table:
    """One row per scenario; a narrow table sets two figures above each other."""
    deadline = result.run.info.deadline_ns is not None
    columns = _columns(deadline=deadline, paper=_has_paper(result))
    groups = [[column] for column in columns] if wide else _pairs(columns)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        leading=0 if wide else 1,
    )
    table.add_column("scenario", overflow="fold", min_width=_name_columns(result))
    for group in groups:
        table.add_column("\n".join(group), justify="right", no_wrap=True)
    for trial in result.trials:
        cells = _cells(trial, deadline=deadline)
        table.add_row(_name(trial), *(_stack(cells, group) for group in groups))
    for scenario in result.not_measured:
        table.add_row(Text.assemble(scenario, ("\nnot measured", _BAD)))
    return table


def _name_columns(result: RunResult) -> int:
    names = [trial.name for trial in result.trials] + ["not measured"]
    return min(_NAME_COLUMNS, max(map(len, names)))


def _has_paper(result: RunResult) -> bool:
    return any(trial.status.paper_max_ns is not None for trial in result.trials)


def _columns(*, deadline: bool, paper: bool) -> list[str]:
    figures = ["wake-ups", "overruns", "min", "p50", "p99", "p99.9", "max"]
    return [*figures, *(["paper"] if paper else []), *(["misses"] if deadline else [])]


def _pairs(columns: list[str]) -> list[list[str]]:
    return [columns[place : place + 2] for place in range(0, len(columns), 2)]


def _cells(trial: TrialResult, *, deadline: bool) -> dict[str, Text]:
    """The figures of a row; those that must not be used are struck out."""
    summary = trial.summary
    struck = _STRUCK if trial.reasons else ""
    cells = {
        "wake-ups": _count(summary.count, struck),
        "overruns": _overruns(trial, struck),
        "min": _time(summary.min_ns, struck),
        "p50": _time(summary.p50_ns, struck),
        "p99": _time(summary.p99_ns, struck),
        "p99.9": _time(summary.p999_ns, struck),
        "max": _time(summary.max_ns, struck or _HEAD),
        "paper": _paper(trial.status.paper_max_ns),
    }
    if deadline:
        cells["misses"] = _count(summary.misses or 0, struck or (_BAD if summary.misses else ""))
    return cells


def _overruns(trial: TrialResult, struck: str) -> Text:
    if Lack.OVERRUNS in trial.trial.lacks:
        return Text("?", _WARN)
    overruns = trial.summary.overruns
    return _count(overruns, struck or (_WARN if overruns else ""))


def _stack(cells: dict[str, Text], group: Iterable[str]) -> Text:
    return Text("\n").join(cells[column] for column in group)


def _name(trial: TrialResult) -> Text:
    name = Text(trial.name, _HEAD)
    if trial.reasons:
        name.append(f"\n{_INVALID}", _BAD)
    elif trial.incomplete:
        name.append("\nincomplete", _WARN)
    return name


def _count(value: int, style: str) -> Text:
    return Text(f"{value:,}".replace(",", " "), style)


def _time(value_ns: int | None, style: str) -> Text:
    return Text(_NONE, _ASIDE) if value_ns is None else Text(format_ns(value_ns), style)


def _paper(value_ns: int | None) -> Text:
    return Text(_NONE if value_ns is None else paper_text(value_ns), _ASIDE)


def _remarks(result: RunResult) -> list[Text]:
    """What has to be known to read the table."""
    remarks = [
        *(_maximum(result), _legend(result), _pair(result)),
        *(_tcg(result), _simulated(result)),
    ]
    notes = [Text(note, _WARN) for note in result.run.notes]
    return [remark for remark in remarks if remark] + notes


def _maximum(result: RunResult) -> Text:
    """How much the worst value covers: it is no bound."""
    counts = {trial.summary.count for trial in result.trials if trial.summary.count}
    if not counts:
        return Text()
    shares = dict.fromkeys(_per_million(count) for count in (max(counts), min(counts)))
    return Text(
        "The maximum is not a bound: at 95 % confidence it covers all but 3/N of the wake-ups, "
        f"here {' to '.join(shares)} per million."
    )


def _per_million(count: int) -> str:
    """The share of wake-ups that the maximum does not cover."""
    share = 1e6 * upper_share(count)
    return f"{share:.0f}" if share >= 100 else f"{share:.2g}"


def _legend(result: RunResult) -> Text:
    text = Text("paper: the worst delay that the paper reports." if _has_paper(result) else "")
    if any(trial.status.loads for trial in result.trials):
        text.append(" Loads: operations per second, achieved/wanted.")
    lacking = any(
        trial.summary.p999_ns is None or (trial.status.paper_max_ns is None and _has_paper(result))
        for trial in result.trials
    )
    if lacking:
        text.append(f" {_NONE}: none, or too few wake-ups to support this quantile.")
    if any(Lack.OVERRUNS in trial.trial.lacks for trial in result.trials):
        text.append(" ?: the source does not tell.")
    return Text(text.plain.strip())


def _pair(result: RunResult) -> Text:
    """Before and after, as a factor: it says more than times of another machine."""
    pair = result.run.info.pair
    before, after = (result.trial(name) for name in pair) if pair else (None, None)
    if not (before and after and before.valid and after.valid) or before.status.round:
        return Text()
    ours = _factor(before.summary.max_ns, after.summary.max_ns)
    paper = _factor(before.status.paper_max_ns, after.status.paper_max_ns)
    if not ours:
        return Text()
    tail = f"; in the paper: {paper}" if paper else ""
    return Text(f"From {before.scenario} to {after.scenario}, the worst latency is {ours}{tail}.")


def _factor(before_ns: int | None, after_ns: int | None) -> str:
    if not before_ns or not after_ns or min(before_ns, after_ns) <= 0:
        return ""
    if before_ns >= after_ns:
        return f"{before_ns / after_ns:.1f} times shorter"
    return f"{after_ns / before_ns:.1f} times longer"


def _tcg(result: RunResult) -> Text:
    if not any(trial.status.accel == "tcg" for trial in result.trials):
        return Text()
    return Text(
        "Measured under TCG, QEMU's emulation of a processor: absolute times are not those of a "
        "KVM host, nor comparable with the paper's; compare scenarios with each other.",
        _WARN,
    )


def _simulated(result: RunResult) -> Text:
    simulation = result.run.info.simulation
    if not simulation:
        return Text()
    model = simulation.get("model", "simulated host")
    return Text(
        f"Measured in a {model}. It shows structure and causes; it promises no number of a real "
        "machine.",
        _WARN,
    )


def _details(trial: TrialResult, lines: Iterable[tuple[str, Text]]) -> RenderableType:
    """What stands behind a row: title, soundness, conditions, loads, knobs."""
    grid = Table.grid(padding=(0, 2), expand=False)
    grid.add_column(no_wrap=True, style=_ASIDE, min_width=10)
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(Text(label, f"not dim {_BAD}" if label == _INVALID else ""), text)
    heading = Text.assemble((trial.name, _HEAD), f"  {trial.status.title}")
    return Group(Padding(heading, (0, 1)), Padding(grid, (0, 1, 0, 3)))


def _unusual(trial: TrialResult, *, said: Container[str] = ()) -> Iterable[tuple[str, Text]]:
    """What a reader of the table must not overlook; without deviations that were said before."""
    for reason in trial.reasons:
        yield _INVALID, Text(reason, _BAD)
    if trial.incomplete:
        error = "" if trial.reasons else trial.status.error
        yield "state", Text(f"{trial.incomplete_text}{'; ' if error else ''}{error}", _WARN)
    if trial.summary.negative:
        yield "early", Text(f"{trial.summary.negative} wake-ups before their time", _WARN)
    for reason in trial.status.repeated:
        yield "repeated", Text(f"measured again from its start; {reason}", _WARN)
    for deviation in trial.status.deviations:
        if deviation not in said:
            yield "deviation", Text(deviation, _WARN)
    for note in trial.notes:
        yield "note", Text(note, _WARN)
    overflow = trial.trial.digest.histogram.overflow
    if overflow:
        yield "overflow", Text(f"{overflow} wake-ups beyond the last bin of the source", _WARN)
    if trial.trial.lacks:
        lacks = ", ".join(sorted(lack.value for lack in trial.trial.lacks))
        yield "not told", Text(f"the source does not tell {lacks}", _WARN)


def _detail_lines(trial: TrialResult) -> Iterable[tuple[str, Text]]:
    yield from finding_lines(trial)
    for condition in trial.conditions:
        yield "condition", Text(condition)
    for side, loads in _sides(trial.status.loads).items():
        yield f"{side} loads", Text(", ").join(_load(load) for load in loads)
    for knobs in _alike(trial.status.knobs):
        yield "knob", _knob(knobs)


def _sides(loads: Iterable[LoadResult]) -> dict[str, list[LoadResult]]:
    sides: dict[str, list[LoadResult]] = {}
    for load in loads:
        sides.setdefault(load.side, []).append(load)
    return sides


def _load(load: LoadResult) -> Text:
    """Name, achieved and wanted rate; what is below or broken stands out."""
    short = load.rate_wanted and load.rate < load.rate_wanted * _FEW_PERCENT
    wanted = f"/{load.rate_wanted}" if load.rate_wanted else ""
    text = Text(f"{load.name}\N{NO-BREAK SPACE}{load.rate:.0f}{wanted}", _WARN if short else "")
    if load.errors:
        text.append(f" with {load.errors} errors", _BAD)
    if load.longest_stall_s:
        text.append(f" with a stall of {load.longest_stall_s} s", _BAD)
    if load.message:
        text.append(f" ({load.message})", _BAD)
    return text


def _alike(knobs: Iterable[KnobChange]) -> list[list[KnobChange]]:
    """Changes that differ in their target only, such as the threads of one process."""
    groups: dict[tuple[str, ...], list[KnobChange]] = {}
    for knob in knobs:
        key = (knob.knob, knob.before, knob.wanted, knob.read_back, knob.after)
        groups.setdefault(key, []).append(knob)
    return list(groups.values())


def _knob(knobs: list[KnobChange]) -> Text:
    knob = knobs[0]
    text = Text(f"{knob.knob}: {knob.before} to {knob.wanted}")
    if not knob.in_force:
        found = knob.after if knob.read_back == knob.wanted else knob.read_back
        text.append(f", but found {found}", _BAD)
    return text.append(f" ({', '.join(each.target for each in knobs)})", _ASIDE)
