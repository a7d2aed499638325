"""`report.html`: the whole report as one file that needs no network, no server and no vmjitter.

Pure but for the file: the same result gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from vmjitter import __version__
from vmjitter.report.html.sections import sections_of
from vmjitter.report.html.view import view_of
from vmjitter.report.result import RunResult
from vmjitter.store.atomic import write_text

UPLOT_VERSION: Final = "1.6.32"

_PACKAGE: Final = "vmjitter.report.html"
_STYLES: Final = ("vendor/uplot/uPlot.min.css", "static/page.css")
_SCRIPTS: Final = (
    "vendor/uplot/uPlot.iife.min.js",
    "static/unpack.js",
    "static/series.js",
    "static/page.js",
)


def write_page(result: RunResult, path: Path) -> None:
    """Write the report of a run.

    Args:
        result: a judged run, or an imported result.
        path: the file; its old content stays if it cannot be replaced.

    Raises:
        DataError: it cannot be written, or the samples cannot be read.
    """
    write_text(path, render_page(result))


def render_page(result: RunResult) -> str:
    """Make the report of a run.

    Raises:
        DataError: the samples cannot be read.
    """
    style, script = _joined(_STYLES), _joined(_SCRIPTS)
    info = result.run.info
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=info.title or info.plan or result.run.path.name,
            info=info,
            deadline_ns=result.target.deadline_ns,
            begun=info.created_utc.replace("T", " ").replace("Z", " UTC").replace("+00:00", " UTC"),
            machine=_machine(result),
            sections=sections_of(view_of(result)),
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            policy=_policy(style, script),
            uplot_license=_read("vendor/uplot/LICENSE"),
            uplot_version=UPLOT_VERSION,
            version=__version__,
        )
    )
    # A name that is not UTF-8, from a path or a JSON escape, must not cost the page.
    return text.encode(errors="replace").decode()


def _machine(result: RunResult) -> str:
    """Processor, kernels and QEMU in a line; all facts are in the section on configuration."""
    info = result.run.info
    kernel = info.host.get("kernel", "").removeprefix("Linux version ").split(" ")[0]
    version = info.qemu.get("version", "").removeprefix("QEMU emulator version ").split(" ")[0]
    facts = {
        "simulated host ": info.simulation.get("machine", ""),
        "": info.host.get("cpu", ""),
        "Linux ": kernel,
        "QEMU ": version,
        "guest Linux ": info.qemu.get("kernel_release", ""),
    }
    return "; ".join(f"{word}{value}" for word, value in facts.items() if value)


def _policy(style: str, script: str) -> str:
    """A content security policy under which nothing but this file's own parts can load or run."""
    return (
        "default-src 'none'; img-src data:; "
        f"style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _joined(names: tuple[str, ...]) -> str:
    return "\n".join(_read(name) for name in names)


def _read(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read(f"templates/{name}")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
