"""`vmjitter tune`: settings of this machine and of a running QEMU, shown, changed, put back."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from vmjitter.cli.output import stderr, stdout
from vmjitter.effects.systree import SysTree
from vmjitter.errors import Interrupted, MissingCapability, UsageError
from vmjitter.model.plan import Accel
from vmjitter.model.run import KnobChange
from vmjitter.tuning.change import capped
from vmjitter.tuning.journal import Entry, Journal, state_directory
from vmjitter.tuning.knob import GuestKnob, Host, Knob, Needs, Target, ThreadKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.live import Step, View, expand, step, view
from vmjitter.tuning.media import media
from vmjitter.tuning.recipes import builtin_recipes, find_recipe
from vmjitter.tuning.target import find_target, host_with, starves_main_loop
from vmjitter.tuning.tuner import How, Tuner, Undone
from vmjitter.tuning.watchdog import Watchdog

_SHOW_HELP = """Show knobs: whether they can be used here, what is set now, what they would set.

Without a name, all of them and the recipes; a name of one knob shows all that is known of it.
Changes nothing.

Examples:

  vmjitter tune show

  vmjitter tune show vcpu-fifo --vm 4711 --cpus 2-3

  vmjitter tune show tuned-rt --json
"""
_APPLY_HELP = """Change settings of this machine, and with --vm those of a running QEMU's threads.

What was there before is written down first; `vmjitter tune revert` puts it back, also after a
crash or in another shell. Knobs that need QEMU, the guest or a module to start again are named with
what to write; `vmjitter run` does that itself for its own guests.

While real-time priorities are set, a watchdog of higher priority takes them back if vmjitter is
silent for 10 s. It ends with this command; --hold keeps both until Ctrl-C, and then puts back
everything.

Examples:

  vmjitter tune apply live-only --cpus 2-3 --vm 4711 --dry-run

  vmjitter tune apply ksm-off numa-balancing-off

  vmjitter tune apply pm-qos --hold
"""
_REVERT_HELP = """Put back everything that vmjitter changed and has not put back yet.

Works after a crash, after SIGKILL and after a restart. What somebody else changed since is left
alone, and said so. Changes of a run that is still alive are kept, unless --force is given. Safe to
repeat. The exit status is 1 if something could not be put back or was kept.
"""

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KNOB|RECIPE]...",
        help="Names of knobs or recipes, or a recipe's file.",
        autocompletion=lambda: [*KNOBS, *builtin_recipes()],
    ),
]
Cpus = Annotated[
    str,
    typer.Option("--cpus", metavar="LIST", help="CPUs for the guest, e.g. 2-3; none are shared."),
]
Vm = Annotated[
    int | None, typer.Option("--vm", metavar="PID", help="Process id of a running QEMU.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]

_KEPT: Final = "kept: the vmjitter that set it still runs"


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Settings that make a guest wake up on time.")
    group.command("show", help=_SHOW_HELP)(show)
    group.command("apply", help=_APPLY_HELP)(apply)
    group.command("revert", help=_REVERT_HELP)(revert)
    app.add_typer(group, name="tune", rich_help_panel="Tune")


def show(names: Names = None, cpus: Cpus = "", vm: Vm = None, as_json: AsJson = False) -> None:
    """See `_SHOW_HELP`."""
    host, target = _place(cpus, vm)
    tuner = _tuner()
    ours = frozenset(entry.knob for entry in tuner.outstanding())
    knobs = expand(names) if names else tuple(KNOBS.values())
    views = [view(knob, host, target, ours) for knob in knobs]
    if as_json:
        typer.echo(json.dumps(_shown_as_json(views, names), indent=2, ensure_ascii=False))
    elif names and len(views) == 1:
        _print_one(views[0])
    else:
        _print_table(views)
        _print_recipes(names)


def apply(
    names: Names = None,
    cpus: Cpus = "",
    vm: Vm = None,
    hold: Annotated[
        bool,
        typer.Option("--hold", help="Stay until Ctrl-C, watch, then put everything back."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """See `_APPLY_HELP`."""
    if not names:
        raise UsageError("no knob is named", hint="`vmjitter tune show` lists them all")
    host, target = _place(cpus, vm)
    application = _Application(
        knobs=expand(names), host=host, target=target, hold=hold, tuner=_tuner()
    )
    if dry_run:
        application.rehearse()
        return
    with ExitStack() as stack:
        application.run(stack)
    if application.failed or not (application.made or application.in_force):
        raise typer.Exit(1)


def revert(
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Put back also what a run that is alive has set.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """See `_REVERT_HELP`."""
    tuner = _tuner()
    # what is held by a descriptor nobody else can let go
    alive = {one.number for one in tuner.others_at_work() if not force or one.medium == "held"}
    outstanding = tuner.outstanding()
    mine = [one for one in outstanding if one.number not in alive]
    done = tuner.look(mine) if dry_run else tuner.revert(mine) if mine else ()
    kept = [one for one in outstanding if one.number in alive]
    if as_json:
        reverted = [_undone_as_json(one) for one in done]
        content = {"format": 1, "dry_run": dry_run, "changes": [*reverted, *map(_kept, kept)]}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print_undone(done, kept, dry_run=dry_run)
    if kept or any(one.how is How.FAILED for one in done):
        raise typer.Exit(1)


@dataclass(kw_only=True)
class _Application:
    """One `tune apply`."""

    knobs: Sequence[Knob]
    host: Host
    target: Target | None
    hold: bool
    made: list[KnobChange] = field(default_factory=list)
    in_force: bool = False
    failed: bool = False
    watchdog: Watchdog | None = None
    tuner: Tuner

    def rehearse(self) -> None:
        """Say what would be done."""
        for knob in self.knobs:
            one = step(knob, self.host, self.target, hold=self.hold)
            for change in one.changes:
                _line(knob, f"{change.title or change.place} = {change.wanted.strip()}")
            if one.why:
                _line(knob, one.why)

    def run(self, stack: ExitStack) -> None:
        """Do it, and with ``hold`` put it back when told to end.

        Raises:
            Interrupted: told to end while it was not to put it back.
        """
        try:
            self._perform(stack)
            if self.hold and self.made:
                stderr().print("holding; Ctrl-C puts everything back")
                threading.Event().wait()
        except KeyboardInterrupt:
            if not self.hold:
                raise Interrupted(
                    "interrupted", hint="`vmjitter tune revert` puts back what was changed"
                ) from None
            self._put_back()

    def _perform(self, stack: ExitStack) -> None:
        self._watch(stack)
        for knob in self.knobs:
            # a thread that QEMU has started since inherits what its creator has by now
            if self.target is not None:
                self.target = find_target(self.host, self.target.pid)
            self._one(step(knob, self.host, self.target, hold=self.hold))
        if self.made and not self.hold:
            stderr().print("put it back with: vmjitter tune revert", highlight=False)
            if self.watchdog is not None:
                stderr().print("nobody watches over real-time priorities from now on; --hold does")

    def _put_back(self) -> None:
        _print_undone(self.tuner.revert(self.tuner.owned()), (), dry_run=False)
        for line in self.watchdog.report() if self.watchdog is not None else ():
            stderr().print(f"watchdog: {line}", markup=False)

    def _watch(self, stack: ExitStack) -> None:
        wanted = [knob for knob in self.knobs if knob.real_time]
        if not any(step(one, self.host, self.target, hold=self.hold).changes for one in wanted):
            return
        directory = state_directory()
        try:
            dog = Watchdog(directory, log=directory / "watchdog.log", cpus=self.host.other_cpus)
        except OSError as error:
            raise MissingCapability(
                f"the watchdog's log cannot be written: {error}", hint="run as root"
            ) from error
        self.watchdog = stack.enter_context(dog)

    def _one(self, one: Step) -> None:
        changes = one.changes
        why = self._refusal(one)
        if why or not changes:
            _line(one.knob, why or one.why)
            self.failed = self.failed or bool(why)
            return
        if self.watchdog is not None:
            changes = capped(changes, self.watchdog.highest)
        try:
            made = self.tuner.apply(one.knob.name, changes)
        except MissingCapability as error:
            self.failed = True
            _line(one.knob, f"{error.message}; {error.hint}")
            return
        self._tell(one, made)

    def _refusal(self, one: Step) -> str:
        """Why it must not be done, although it could be."""
        if not (one.changes and one.knob.real_time):
            return ""
        if self.watchdog is None or not self.watchdog.highest:
            rank = self.watchdog.rank if self.watchdog is not None else "it was not started"
            return f"left out: no watchdog can stand above it, {rank}"
        return starves_main_loop(self.target, one.changes) if self.target is not None else ""

    def _tell(self, one: Step, made: Sequence[KnobChange]) -> None:
        for change in made:
            same = change.before == change.read_back
            text = f"{change.target}: {change.before.strip() or 'absent'} -> "
            _line(one.knob, text + change.read_back.strip() + (" (as before)" if same else ""))
            if change.read_back != change.wanted:
                self.failed = True
                _line(one.knob, f"{change.target} is not {change.wanted.strip()}")
            self.in_force = self.in_force or same
        self.made += [change for change in made if change.before != change.read_back]
        for refused in self.tuner.refused:
            _line(one.knob, f"the kernel refused {refused}")
        self.tuner.refused.clear()
        if one.why:
            _line(one.knob, one.why)


def _tuner() -> Tuner:
    return Tuner(Journal(state_directory()), media(_tree()))


def _tree() -> SysTree:
    return SysTree()


def _place(cpus: str, vm: int | None) -> tuple[Host, Target | None]:
    cpu = frozenset({0})
    host = host_with(cpus, Host(tree=_tree(), guest_cpus=cpu, other_cpus=cpu, accel=Accel.KVM))
    target = find_target(host, vm) if vm is not None else None
    return (target.host if target is not None else host), target


def _line(knob: Knob, text: str) -> None:
    stdout().print(f"{knob.name}: {text}", markup=False, soft_wrap=True)


def _print_table(views: Sequence[View]) -> None:
    """One table per kind of need: what takes effect at once comes first."""
    groups: dict[str, list[View]] = {}
    for one in views:
        groups.setdefault(_needs(one.knob), []).append(one)
    for needs in sorted(groups, key=lambda needs: (not needs.startswith("nothing"), needs)):
        table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
        table.title = f"Needs {needs}"
        table.add_column("knob", no_wrap=True)
        table.add_column("now -> wanted", no_wrap=True)
        table.add_column("what it does; why not here", overflow="fold")
        for one in groups[needs]:
            name = Text(one.knob.name + (" *" if one.ours else ""))
            table.add_row(name, _now_and_wanted(one), _why(one))
        stdout().print(table)
        stdout().print()
    if any(one.ours for one in views):
        stdout().print("* set by vmjitter and not put back: vmjitter tune revert", markup=False)


def _now_and_wanted(one: View) -> Text:
    count = f" ({one.places} places)" if one.places > 1 else ""
    if not one.now or one.missing:
        return Text("")
    return Text(
        f"{one.now} -> {one.wanted}{count}" if one.now != one.wanted else f"{one.now}{count}"
    )


def _why(one: View) -> Text:
    text = Text(one.knob.effect)
    if one.missing:
        text.append(f"; not here: {one.missing}", "yellow")
    return text


def _needs(knob: Knob) -> str:
    if isinstance(knob, ThreadKnob):
        return "nothing; --vm names the QEMU"
    if isinstance(knob, GuestKnob):
        return "nothing; set in the guest"
    return f"{knob.needs.value} started again" if knob.needs is not Needs.NOTHING else "nothing"


def _print_recipes(names: Sequence[str] | None) -> None:
    table = _table("recipe", "what it is", "knobs")
    known = builtin_recipes()
    for name in known if names is None else [one for one in names if one in known]:
        recipe = find_recipe(name)
        _row(table, name, f"{recipe.title} ({recipe.source})", ", ".join(recipe.knobs))
    if table.row_count:
        stdout().print()
        stdout().print(table)


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*map(Text, cells))  # as they are: values may have brackets


def _print_one(one: View) -> None:
    knob = one.knob
    rows = {
        "knob": knob.name,
        "effect": knob.effect,
        "here": one.missing or "yes",
        "now": one.now + (" (set by vmjitter)" if one.ours else ""),
        "wanted": one.wanted,
        "places": str(one.places) if one.places else "",
        "needs": one.how or "nothing to start again",
        "worth": knob.worth,
        "risk": knob.risk,
        "undo": knob.undo,
    }
    for key, text in rows.items():
        if text:
            stdout().print(f"{key:<7} {text}", markup=False, soft_wrap=True)


def _shown_as_json(views: Sequence[View], names: Sequence[str] | None) -> dict[str, object]:
    known = builtin_recipes()
    chosen = known if names is None else [one for one in names if one in known]
    return {
        "format": 1,
        "knobs": [_view_as_json(one) for one in views],
        "recipes": [asdict(find_recipe(name)) for name in chosen],
    }


def _view_as_json(one: View) -> dict[str, object]:
    knob = one.knob
    return {
        "name": knob.name,
        "effect": knob.effect,
        "available": not one.missing,
        "missing": one.missing,
        "now": one.now,
        "wanted": one.wanted,
        "places": one.places,
        "needs": knob.needs.name.lower(),
        "how": one.how,
        "real_time": knob.real_time,
        "worth": knob.worth,
        "risk": knob.risk,
        "undo": knob.undo,
        "set_by_vmjitter": one.ours,
    }


def _undone_as_json(one: Undone) -> dict[str, object]:
    return {**_entry_as_json(one.entry), "outcome": one.how.name.lower(), "reason": one.reason}


def _kept(entry: Entry) -> dict[str, object]:
    return {**_entry_as_json(entry), "outcome": "kept", "reason": f"by {entry.owner}"}


def _entry_as_json(entry: Entry) -> dict[str, object]:
    keys = ("knob", "medium", "place", "title", "before", "wanted", "utc", "owner")
    return {key: getattr(entry, key) for key in keys}


def _print_undone(done: Sequence[Undone], kept: Sequence[Entry], *, dry_run: bool) -> None:
    for one in done:
        entry = one.entry
        what = "would be restored" if dry_run and one.how is How.RESTORED else one.how.value
        text = f"{entry.title}: {what}, {_values(one)}".rstrip(", ")
        stdout().print(f"{entry.knob}: {text}", markup=False, soft_wrap=True)
    for entry in kept:
        pid = entry.owner.partition("@")[0]
        text = f"{entry.knob}: {entry.title}: {_KEPT} (process {pid})"
        stdout().print(text, markup=False, soft_wrap=True)
    if any(entry.medium != "held" for entry in kept):
        stderr().print("end that process, or use --force to put its changes back under it")
    if not done and not kept:
        stdout().print("nothing to put back")


def _values(one: Undone) -> str:
    before = one.entry.before.strip() or "absent"
    if one.how in {How.RESTORED, How.UNCHANGED}:
        return before
    if one.how is How.FAILED:
        return one.reason
    return f"is {one.found.strip()}, was {before} before" if one.found else ""
