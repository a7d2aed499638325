"""What a run needs before its first trial: kernel, images, accelerator, facts."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from vmjitter.effects.scratch import anonymous_memory, fd_path
from vmjitter.effects.systree import SysTree
from vmjitter.errors import GuestLost, MissingCapability, UsageError
from vmjitter.guest.cache import cache_root, publish_file
from vmjitter.guest.image import GuestImage, build_image, guest_programs, modules_for
from vmjitter.guest.kernels import KernelFiles, custom_kernel, fetch_kernel
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.model.plan import Accel, Disk, GuestSpec, Network, Plan, Scenario, Where
from vmjitter.qemu.cmdline import Machine, Resources
from vmjitter.qemu.machine import QemuMachine, qemu_program, qemu_version
from vmjitter.session.context import Guest
from vmjitter.session.guest_trial import machine_for
from vmjitter.tuning.knobs import KNOBS
from vmjitter.units import NS_PER_S, Ns

Say = Callable[[str], None]

KVM_TRIAL_NS: Final = Ns(15 * NS_PER_S)
"""A KVM that works brings the guest to its init in one or two seconds."""

_DISK_DEVICES: Final[dict[Disk, tuple[str, ...]]] = {
    Disk.NONE: (),
    Disk.IDE: ("ide", "ext4"),
    Disk.VIRTIO: ("virtio-pci", "virtio-blk", "ext4"),
}
_NETWORK_DEVICES: Final[dict[Network, tuple[str, ...]]] = {
    Network.NONE: (),
    Network.E1000: ("e1000",),
    Network.VIRTIO: ("virtio-pci", "virtio-net"),
}


def prepare_guest(plan: Plan, say: Say) -> Guest | None:
    """Kernel, one image per scenario, and the accelerator; None if no scenario needs a guest.

    Raises:
        UsageError: no such kernel, or it lacks a module that a device needs.
        MissingCapability: QEMU, apt or a native program is missing.
    """
    scenarios = [scenario for scenario in plan.scenarios if scenario.where is Where.GUEST]
    if not scenarios:
        return None
    qemu_program()
    images = guest_images(plan, say)
    accel, reason = _choose_accel(plan, scenarios, images, say)
    return Guest(images=images, accel=accel, accel_reason=reason)


def guest_images(plan: Plan, say: Say) -> dict[str, GuestImage]:
    """Kernel and image of every scenario that has a guest, by the scenario's name.

    A kernel that several scenarios have is looked for once.

    Raises:
        UsageError: no such kernel, or it lacks a module that a device needs.
        MissingCapability: apt or a native program is missing.
    """
    scenarios = [scenario for scenario in plan.scenarios if scenario.where is Where.GUEST]
    if not scenarios:
        return {}
    kernels = {}
    for name in dict.fromkeys(scenario.kernel for scenario in scenarios):
        say(f"guest kernel {name or plan.guest.kernel_file or plan.guest.kernel}")
        kernels[name] = guest_kernel(plan.guest, name)
    say("guest images")
    programs = {
        arch: guest_programs(arch, own_busybox=plan.guest.busybox)
        for arch in dict.fromkeys(kernel.arch for kernel in kernels.values())
    }
    return {
        scenario.name: _image(scenario, kernel, programs[kernel.arch])
        for scenario in scenarios
        for kernel in (kernels[scenario.kernel],)
    }


def _image(scenario: Scenario, kernel: KernelFiles, programs: Mapping[str, Path]) -> GuestImage:
    modules = guest_modules(scenario)
    try:
        return build_image(kernel, modules=modules, programs=programs, cache=cache_root())
    except UsageError as error:
        raise UsageError(
            f"scenario.{scenario.name} with the kernel {kernel.name}: {error.message}",
            hint=error.hint,
        ) from error


def guest_kernel(spec: GuestSpec, name: str = "") -> KernelFiles:
    """The kernel of that name; without one, the plan's own file or the kernel that it names."""
    if not name and spec.kernel_file is not None:
        return custom_kernel(spec.kernel_file, spec.modules_dir)
    return fetch_kernel(name or spec.kernel)


def guest_modules(scenario: Scenario) -> tuple[str, ...]:
    """The modules that a scenario's devices and knobs need, and no others.  Pure."""
    drivers = (driver for name in scenario.knobs for driver in KNOBS[name].drivers)
    disk, network = _DISK_DEVICES[scenario.disk], _NETWORK_DEVICES[scenario.network]
    return modules_for((*disk, *network, *drivers))


def _choose_accel(
    plan: Plan, scenarios: Sequence[Scenario], images: Mapping[str, GuestImage], say: Say
) -> tuple[Accel, str]:
    """KVM if it brings every kernel of the plan to its init: times of both kinds do not compare."""
    tried: dict[str, tuple[Accel, str]] = {}
    for scenario in scenarios:
        image = images[scenario.name]
        if image.kernel.sha256 not in tried:
            tried[image.kernel.sha256] = choose_accel(plan, scenario, image, say)
    without = [answer for answer in tried.values() if answer[0] is Accel.TCG]
    return without[0] if without else (Accel.KVM, "")


def choose_accel(plan: Plan, scenario: Scenario, image: GuestImage, say: Say) -> tuple[Accel, str]:
    """KVM if it brings this guest to its init, else TCG with the reason.

    A /dev/kvm that opens is no proof: nested and para-virtual hosts may have one on which no stock
    kernel boots.  The answer is kept until the host reboots.
    """
    if plan.guest.accel is Accel.TCG:
        return Accel.TCG, ""
    reason = _kvm_missing(SysTree())
    if not reason:
        reason = _kvm_fails(plan, scenario, image, say)
    if not reason:
        return Accel.KVM, ""
    if plan.guest.accel is Accel.KVM:
        raise MissingCapability(
            f"KVM was asked for and does not work here: {reason}",
            hint="leave guest.accel at auto to go on with software emulation (TCG)",
        )
    return Accel.TCG, reason


def _kvm_missing(tree: SysTree) -> str:
    if not tree.exists("/dev/kvm"):
        return "/dev/kvm does not exist"
    if not tree.usable("/dev/kvm"):
        return "no permission for /dev/kvm (add the user to the group kvm)"
    return ""


def _kvm_fails(plan: Plan, scenario: Scenario, image: GuestImage, say: Say) -> str:
    boot_id = SysTree().read("/proc/sys/kernel/random/boot_id") or ""
    key = hashlib.sha256(f"{boot_id} {image.kernel.sha256} {qemu_version(qemu_program())}".encode())
    record = cache_root() / "kvm" / key.hexdigest()[:16]
    known = SysTree().read(str(record))
    if known is not None:
        return known
    say("trying KVM")
    reason = _try_kvm(machine_for(plan, scenario, image, Accel.KVM))
    record.parent.mkdir(parents=True, exist_ok=True)
    publish_file(record, reason.encode())
    return reason


def _try_kvm(machine: Machine) -> str:
    bare = Machine(**{**vars(machine), "disk": Disk.NONE, "network": Network.NONE})
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmjitter-kvm-")))
        shm_fd = stack.enter_context(anonymous_memory(SHM_BYTES))
        shm = stack.enter_context(SharedMemory(shm_fd))
        resources = _bare_resources(directory, shm_fd)
        log = directory / "qemu.log"
        try:
            qemu = QemuMachine(bare, resources, shm=shm, inherit=[shm_fd], qemu_log=log)
            stack.enter_context(qemu).wait_ready(KVM_TRIAL_NS)
        except GuestLost as error:
            kernel = bare.kernel.name
            return f"with KVM the guest kernel {kernel} did not reach its init: {error.message}"
    return ""


def _bare_resources(directory: Path, shm_fd: int) -> Resources:
    return Resources(
        console_log=directory / "console.log",
        qmp_fd=-1,
        bell_fd=-1,
        shm_path=fd_path(shm_fd),
        shm_bytes=SHM_BYTES,
        scratch_path=None,
        direct=False,
        tap_fd=None,
        vhost_fd=None,
    )


def host_facts(tree: SysTree) -> dict[str, str]:
    """What matters for timing on this host, as text by name; what cannot be read is empty."""
    files = {
        "kernel": "/proc/version",
        "cmdline": "/proc/cmdline",
        "clocksource": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "realtime": "/sys/kernel/realtime",
        "rt_runtime_us": "/proc/sys/kernel/sched_rt_runtime_us",
        "isolated": "/sys/devices/system/cpu/isolated",
        "online": "/sys/devices/system/cpu/online",
        "smt": "/sys/devices/system/cpu/smt/control",
        "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
        "ksm": "/sys/kernel/mm/ksm/run",
        "halt_poll_ns": "/sys/module/kvm/parameters/halt_poll_ns",
        "loadavg": "/proc/loadavg",
    }
    facts = {name: tree.read(path) or "" for name, path in files.items()}
    facts["cpu"] = _field(tree.read("/proc/cpuinfo") or "", "model name")
    facts["memory"] = _field(tree.read("/proc/meminfo") or "", "MemTotal")
    return facts


def qemu_facts(guest: Guest | None) -> dict[str, str]:
    """QEMU, kernel and images of a run, as text by name."""
    if guest is None:
        return {}
    return {
        "version": qemu_version(qemu_program()),
        "accel": guest.accel.value,
        "accel_reason": guest.accel_reason,
        **kernel_facts(guest.images),
        **{f"image_sha256.{name}": image.sha256 for name, image in guest.images.items()},
    }


def kernel_facts(images: Mapping[str, GuestImage]) -> dict[str, str]:
    """The guests' kernels, as text by name; none without images.  Pure.

    Where scenarios have different kernels, ``kernel`` and so on name them all, and
    ``kernel.SCENARIO`` that of each.

    Args:
        images: by scenario.
    """
    each = {scenario: _kernel_facts(image.kernel) for scenario, image in images.items()}
    names = next(iter(each.values()), {})
    facts = {
        name: " / ".join(dict.fromkeys(one[name] for one in each.values() if one[name]))
        for name in names
    }
    if len({image.kernel.sha256 for image in images.values()}) > 1:
        for scenario, one in each.items():
            facts |= {f"{name}.{scenario}": text for name, text in one.items()}
    return facts


def _kernel_facts(kernel: KernelFiles) -> dict[str, str]:
    return {
        "kernel": kernel.name,
        "kernel_release": kernel.release,
        "kernel_package": f"{kernel.package} {kernel.package_version}".strip(),
        "kernel_sha256": kernel.sha256,
    }


def _field(content: str, name: str) -> str:
    for line in content.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
