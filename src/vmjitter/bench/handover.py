"""What a trial elsewhere is given: its guest's files and what it has to say; both ends of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vmjitter.bench.local import Surroundings
from vmjitter.errors import DataError
from vmjitter.guest.image import GuestImage
from vmjitter.guest.kernels import KernelFiles
from vmjitter.model.plan import Accel, Plan
from vmjitter.session.context import Guest

GUEST_FILE: Final = "guest.json"
SURROUNDINGS_FILE: Final = "surroundings.json"


def pack(images: Mapping[str, GuestImage], surroundings: Surroundings) -> dict[str, bytes]:
    """The files to hand over, by name; each kernel and archive once.

    Args:
        images: by scenario.
        surroundings: what the run there has to say.

    Raises:
        OSError: a kernel or an archive cannot be read.
    """
    described = {}
    content: dict[str, bytes] = {}
    for scenario, image in images.items():
        kernel, archive = f"kernel-{image.kernel.sha256[:16]}", f"image-{image.sha256[:16]}"
        content[kernel] = image.kernel.vmlinuz.read_bytes()
        content[archive] = image.initramfs.read_bytes()
        fields = dataclasses.asdict(image.kernel) | {"vmlinuz": kernel, "modules": None}
        described[scenario] = {
            "kernel": fields,
            "initramfs": archive,
            "sha256": image.sha256,
            "modules": image.modules,
        }
    content[GUEST_FILE] = json.dumps(described).encode()
    content[SURROUNDINGS_FILE] = json.dumps(dataclasses.asdict(surroundings)).encode()
    return content


def unpack_guest(directory: Path, plan: Plan) -> Guest | None:
    """The guest that was handed over, to be run with KVM unless the plan says otherwise.

    Raises:
        DataError: its description is missing or broken.
    """
    described = _read(directory / GUEST_FILE)
    try:
        images = {name: _image(directory, fields) for name, fields in described.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{directory / GUEST_FILE} is not as vmjitter writes it: {error}"
        ) from error
    if not images:
        return None
    accel = Accel.TCG if plan.guest.accel is Accel.TCG else Accel.KVM
    return Guest(images=images, accel=accel, accel_reason="")


def unpack_surroundings(directory: Path) -> Surroundings:
    """What the run has to say.

    Raises:
        DataError: it is missing or broken.
    """
    fields = _read(directory / SURROUNDINGS_FILE)
    return Surroundings(
        bench=str(fields.get("bench")),
        conditions=tuple(fields.get("conditions", ())),
        repeated=tuple(fields.get("repeated", ())),
        round=int(fields.get("round", 0)),
    )


def _image(directory: Path, fields: Mapping[str, Any]) -> GuestImage:
    kernel = dict(fields["kernel"])
    return GuestImage(
        kernel=KernelFiles(**(kernel | {"vmlinuz": directory / kernel["vmlinuz"]})),
        initramfs=directory / fields["initramfs"],
        sha256=fields["sha256"],
        modules=tuple(fields["modules"]),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no JSON object")
    return content
