"""`vmjitter tune`: settings of this machine and of a running QEMU, shown, changed, put back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from vmjitter.cli.output import stderr, stdout
from vmjitter.cli.tune_apply import Application, undone_line
from vmjitter.effects.systree import SysTree
from vmjitter.errors import UsageError
from vmjitter.model.plan import Accel
from vmjitter.tuning.journal import Entry, Journal, state_directory
from vmjitter.tuning.knob import GuestKnob, Host, Knob, Needs, Target, ThreadKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.live import View, expand, view
from vmjitter.tuning.media import media
from vmjitter.tuning.recipes import builtin_recipes, find_recipe
from vmjitter.tuning.target import find_target, host_with
from vmjitter.tuning.tuner import How, Tuner, Undone

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
silent for 10 s. It ends with this command, which warns of what nobody watches over then; --hold
keeps both until Ctrl-C, and then puts back everything.

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

_NOW_WIDTH: Final = 18  # of 80 columns; the explanation needs the rest
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
    as_json: AsJson = False,
) -> None:
    """See `_APPLY_HELP`."""
    if not names:
        raise UsageError("no knob is named", hint="`vmjitter tune show` lists them all")
    host, target = _place(cpus, vm)
    application = Application(
        knobs=expand(names), host=host, target=target, hold=hold, as_json=as_json, tuner=_tuner()
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


def _tuner() -> Tuner:
    return Tuner(Journal(state_directory()), media(_tree()))


def _tree() -> SysTree:
    return SysTree()


def _place(cpus: str, vm: int | None) -> tuple[Host, Target | None]:
    cpu = frozenset({0})
    host = host_with(cpus, Host(tree=_tree(), guest_cpus=cpu, other_cpus=cpu, accel=Accel.KVM))
    target = find_target(host, vm) if vm is not None else None
    return (target.host if target is not None else host), target


def _print_table(views: Sequence[View]) -> None:
    """One table per kind of need: what takes effect at once comes first."""
    groups: dict[str, list[View]] = {}
    for one in views:
        groups.setdefault(_needs(one.knob), []).append(one)
    for needs in sorted(groups, key=lambda needs: (not needs.startswith("nothing"), needs)):
        table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
        table.title = f"Needs {needs}"
        table.add_column("knob", no_wrap=True)
        table.add_column("now -> wanted", overflow="fold", max_width=_NOW_WIDTH)
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
        what = "would be restored" if dry_run and one.how is How.RESTORED else ""
        stdout().print(undone_line(one, what), markup=False, soft_wrap=True)
    for entry in kept:
        pid = entry.owner.partition("@")[0]
        text = f"{entry.knob}: {entry.title}: {_KEPT} (process {pid})"
        stdout().print(text, markup=False, soft_wrap=True)
    if any(entry.medium != "held" for entry in kept):
        stderr().print("end that process, or use --force to put its changes back under it")
    if not done and not kept:
        stdout().print("nothing to put back")
