"""`vmjitter guest`: kernels and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vmjitter.cli.output import stderr, stdout
from vmjitter.guest.cache import cache_root
from vmjitter.guest.image import build_image, guest_programs, modules_for
from vmjitter.guest.kernels import KERNELS, custom_kernel, fetch_kernel
from vmjitter.guest.modules import DEVICE_MODULES

_BUILD_HELP = """Fetch a guest kernel and build an image for it, without root.

The kernel is downloaded once, through apt's own signature check; later builds work offline.
`vmjitter run` does the same when it needs to.

Examples:

  vmjitter guest build debian-rt-i386

  vmjitter guest build debian-amd64 --device virtio-blk --device ext4

  vmjitter guest build --kernel bzImage --modules /lib/modules/6.1.0
"""


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Kernels and images of guests.")
    group.command("build", help=_BUILD_HELP)(build)
    group.command("list", help="List the guest kernels known by name.")(list_kernels)
    app.add_typer(group, name="guest", rich_help_panel="Measure")


def build(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of a kernel.", autocompletion=lambda: list(KERNELS)),
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option("--kernel", help="A bzImage instead of a named kernel.")
    ] = None,
    modules: Annotated[
        Path | None, typer.Option("--modules", help="Modules that belong to --kernel.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help=f"Add its modules: {', '.join(DEVICE_MODULES)}."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look for a newer kernel package.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """See `_BUILD_HELP`."""
    if (name is None) == (kernel is None):
        raise typer.BadParameter("give either the NAME of a kernel or --kernel FILE")
    stderr().print(f"fetching {name}" if name else f"reading {kernel}")
    files = custom_kernel(kernel, modules) if kernel else fetch_kernel(name or "", refresh=refresh)
    programs = guest_programs(files.arch, refresh=refresh)
    wanted = modules_for(device or ())
    image = build_image(files, modules=wanted, programs=programs, cache=cache_root())
    facts = {
        "kernel": str(files.vmlinuz),
        "release": files.release,
        "package": f"{files.package} {files.package_version}".strip(),
        "initramfs": str(image.initramfs),
        "sha256": image.sha256,
        "modules": list(image.modules),
    }
    if as_json:
        typer.echo(json.dumps({"format": 1, **facts}, indent=2))
        return
    for key, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        stdout().print(f"{key:<10} {text}", soft_wrap=True, markup=False)


def list_kernels(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the guest kernels known by name."""
    if as_json:
        kernels = [
            {"name": k.name, "package": k.package, "arch": k.arch, "description": k.description}
            for k in KERNELS.values()
        ]
        typer.echo(json.dumps({"format": 1, "kernels": kernels}, indent=2))
        return
    table = Table("name", "Debian package", "arch", "what it is", box=None, pad_edge=False)
    for kernel in KERNELS.values():
        table.add_row(kernel.name, kernel.package, kernel.arch, kernel.description)
    stdout().print(table)
