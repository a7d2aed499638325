"""How to get the same figures again, and from which files."""

from __future__ import annotations

import shlex
from pathlib import Path

from vmjitter.report.html.blocks import Block, Code, Fold, Section, code, paragraphs, row, table
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, setting
from vmjitter.store.reader import is_run
from vmjitter.store.rundir import REPORT_FILE
from vmjitter.store.seal import CHECKSUMS_FILE


def section(view: PageView) -> Section:
    """Commands, files, checksums, plan."""
    run = view.result.run
    stored = is_run(run.path)
    name = run.path.name or str(run.path)
    blocks: list[Block] = [
        paragraphs(
            "The same files give the same figures, bit for bit, on any machine and without QEMU. "
            f"Measured with vmjitter {run.info.vmjitter}."
            if stored
            else "The same file gives the same figures, bit for bit, on any machine."
        ),
        Code(text="\n".join(_commands(view, name, stored=stored)), title="Commands"),
    ]
    sums = _sums(run.path)
    if sums:
        rows = [row(words(file), code(digest)) for digest, file in sums]
        title = f"Files and their SHA-256 ({CHECKSUMS_FILE})"
        blocks.append(Fold(title=title, blocks=(table(title, ("file", "SHA-256"), rows),)))
    if run.plan_toml.strip():
        plan = Code(text=run.plan_toml.rstrip("\n"))
        blocks.append(Fold(title="Plan, with every default", blocks=(plan,)))
    return Section(anchor="recompute", title="How to recompute", blocks=tuple(blocks))


def _commands(view: PageView, name: str, *, stored: bool) -> list[str]:
    quoted, target = shlex.quote(name), view.result.target
    options = ""
    if target.deadline_ns is not None:
        options += f" --deadline {setting(target.deadline_ns, space='')}"
        if target.max_misses_per_hour is not None:
            options += f" --max-misses-per-hour {target.max_misses_per_hour:g}"
        options += f" --confidence {target.confidence_percent:g}"
    commands = [f"cd {quoted} && sha256sum --check {CHECKSUMS_FILE} && cd .."] if stored else []
    commands.append(f"vmjitter report {quoted}{options}" + ("" if stored else f" -o {REPORT_FILE}"))
    commands.append(f"vmjitter report {quoted}{options} --json")
    if stored:
        commands.append(f"vmjitter run {quoted}/plan.toml    # measure again")
    return commands


def _sums(path: Path) -> list[tuple[str, str]]:
    """The list of checksums without what is drawn from the other files, this page included."""
    try:
        lines = (path / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    pairs = [line.split("  ", 1) for line in lines if "  " in line]
    return [(d, f) for d, f in pairs if f != REPORT_FILE and not f.startswith("figures/")]
