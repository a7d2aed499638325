"""Devices other than disks."""

from __future__ import annotations

from typing import Final

from vmjitter.doctor.check import Answer, Check, note, ok, problem, warning
from vmjitter.doctor.kernel_view import is_serial
from vmjitter.doctor.vm.options import Option
from vmjitter.doctor.vm.view import VmView
from vmjitter.tuning.knob import Needs

_EMULATED_NICS: Final = ("e1000", "rtl8139", "pcnet", "ne2k", "vmxnet3", "i82")
_USB: Final = ("usb", "qemu-xhci", "nec-usb", "piix3-usb", "ich9-usb")
_GRAPHICS: Final = ("VGA", "qxl", "virtio-gpu", "cirrus", "bochs-display", "virtio-vga")


def _network(view: VmView) -> Answer:
    emulated = view.devices(*_EMULATED_NICS)
    if emulated:
        return problem("A network is an emulated device", "; ".join(map(str, emulated)))
    found = view.devices("virtio-net")
    if not found:
        return None
    return ok("Networks are virtio devices", "; ".join(map(str, found)))


def _vhost(view: VmView) -> Answer:
    if not view.devices("virtio-net"):
        return None
    found = [o for o in view.all("netdev") if o.driver != "hubport"]
    inside = [o for o in found if not _outside(o)]
    if inside:
        return note("QEMU moves the guest's packets itself", "; ".join(map(str, inside)))
    if not found:
        return None
    ends = {o.keys["chardev"] for o in found if "chardev" in o.keys}
    evidence = "; ".join(map(str, [*found, *(o for o in view.all("chardev") if _id(o) in ends)]))
    user = all(_in_user_space(o) for o in found)
    who = "a process of its own moves them" if user else "the kernel moves them"
    return ok(f"The guest's packets do not pass through QEMU: {who}", evidence)


def _id(one: Option) -> str:
    return one.keys.get("id", "")


def _in_user_space(netdev: Option) -> bool:
    """By vhost-user: a switch such as that of DPDK, or passt (qemu(1), -netdev)."""
    return netdev.driver == "vhost-user" or (
        netdev.driver == "passt" and netdev.keys.get("vhost-user") == "on"
    )


def _outside(netdev: Option) -> bool:
    """Whether QEMU only connects the guest's queues to who moves the packets."""
    kernel = netdev.driver == "vhost-vdpa" or netdev.keys.get("vhost") == "on"
    return kernel or _in_user_space(netdev)


def _console(view: VmView) -> Answer:
    ports = [o for o in view.all("serial") if o.text not in {"none", "null"}]
    ports += view.devices("isa-serial", "pci-serial")
    if not ports and not any(True for _ in view.all("nographic")):
        return ok("There is no emulated serial port", "no -serial, no -device isa-serial")
    evidence = "; ".join(map(str, ports)) or "-nographic"
    words = " ".join(o.text for o in view.all("append")).split()
    if any(is_serial(word) for word in words) and "quiet" not in words:
        return warning(
            "The guest's kernel writes its messages to an emulated serial port",
            f"{evidence}; -append has console=ttyS..., and no quiet",
        )
    return note("The guest has an emulated serial port", evidence)


def _spare(view: VmView) -> Answer:
    found = [*view.devices(*_USB, *_GRAPHICS, "virtio-rng")]
    found += [o for o in view.all("vga") if o.text != "none"]
    found += list(view.all("usb"))
    if found:
        return note("The guest has devices that it does not need", "; ".join(map(str, found)))
    if not any(True for _ in view.all("nodefaults")):
        return note("The guest has QEMU's default devices", "no -nodefaults")
    return ok("The guest has no devices that it does not need", "-nodefaults, no USB, no graphics")


def _hpet(view: VmView) -> Answer:
    if not view.kvm or "microvm" in view.value("machine", "type"):
        return None
    off = view.value("machine", "hpet") == "off" or any(True for _ in view.all("no-hpet"))
    if off:
        return ok("The guest has no HPET", "-machine hpet=off")
    return note("The guest has an HPET that QEMU emulates", "no -machine hpet=off")


def _ticks(view: VmView) -> Answer:
    if not view.kvm:
        return None
    policy = next(
        (
            o.keys.get("kvm-pit.lost_tick_policy", "")
            for o in view.all("global")
            if "kvm-pit.lost_tick_policy" in o.keys
        ),
        "",
    )
    if policy == "discard":
        return ok(
            "Lost ticks of the interval timer are not made up for",
            "-global kvm-pit.lost_tick_policy=discard",
        )
    return note(
        "Lost ticks of the interval timer are delivered later, all at once",
        f"kvm-pit.lost_tick_policy = {policy or 'not set, so delay'}",
    )


def _drift(view: VmView) -> Answer:
    fix = view.value("rtc", "driftfix")
    if fix == "slew":
        return note("Lost interrupts of the clock chip are made up for", "-rtc driftfix=slew")
    return ok(
        "Lost interrupts of the clock chip are not made up for",
        f"-rtc driftfix={fix or 'none, the default'}",
    )


CHECKS: Final = (
    Check[VmView](
        id="vm-network-device",
        asks="Is a network an emulated device?",
        reads=("/proc/PID/cmdline",),
        cost="the guest stands still while QEMU emulates each access to a register: with virtio, "
        "vhost-net and priorities the paper's worst case went from 100.55 to 10.97 ms",
        cure="-device virtio-net-pci; <model type='virtio'/> in libvirt",
        source="Ibe, Settsu, Ochiai: realtime evaluation of a guest OS on virtualization software",
        knob="virtio-net",
        look=_network,
    ),
    Check[VmView](
        id="vm-vhost",
        asks="Do packets pass through QEMU?",
        reads=("/proc/PID/cmdline",),
        cost="each packet wakes QEMU's main loop; in one report 175 instead of 580 MB/s",
        cure="-netdev tap,vhost=on; <driver name='vhost'/> in libvirt; without vhost-net a process "
        "of its own: -netdev vhost-user, e.g. to passt --vhost-user, and shared memory",
        source="microvm.nix issue 463; qemu(1), -netdev vhost-user",
        knob="vhost-net",
        look=_vhost,
    ),
    Check[VmView](
        id="vm-console",
        asks="Does the guest write to an emulated serial port?",
        reads=("/proc/PID/cmdline",),
        cost="an exit per byte: 83 us per byte in one kernel under KVM",
        cure="-serial none, or virtio-console; console=hvc0 quiet for the guest's kernel",
        source="Uros issue 567; substrate issue 1055",
        knob="guest-printk-quiet",
        look=_console,
    ),
    Check[VmView](
        id="vm-spare-devices",
        asks="Has the guest devices that it does not need?",
        reads=("/proc/PID/cmdline",),
        cost="every device is work for QEMU's main loop; USB has a timer of its own",
        cure="-nodefaults -no-user-config -display none; no USB, graphics, RNG in libvirt's domain",
        source="libvirt knowledge base, KVM real time; RHEL, real-time guests",
        needs=Needs.QEMU,
        look=_spare,
    ),
    Check[VmView](
        id="vm-hpet",
        asks="Has the guest an HPET?",
        reads=("/proc/PID/cmdline",),
        cost="an exit to QEMU for each read if the guest ever falls back to it",
        cure="-machine hpet=off; <timer name='hpet' present='no'/> in libvirt",
        source="SEAPATH's guest configuration; propolis issue 328",
        needs=Needs.QEMU,
        look=_hpet,
    ),
    Check[VmView](
        id="vm-lost-ticks",
        asks="Are lost ticks of the interval timer made up for?",
        reads=("/proc/PID/cmdline",),
        cost="ticks in quick succession after the guest was held up",
        cure="-global kvm-pit.lost_tick_policy=discard; <timer name='pit' tickpolicy='discard'/> "
        "in libvirt",
        source="Documentation/virt/kvm/api.rst, KVM_REINJECT_CONTROL",
        knob="pit-discard",
        look=_ticks,
    ),
    Check[VmView](
        id="vm-clock-drift",
        asks="Are lost interrupts of the clock chip made up for?",
        reads=("/proc/PID/cmdline",),
        cost="interrupts in quick succession after the guest was held up",
        cure="-rtc clock=host,driftfix=none",
        source="qemu(1), -rtc",
        needs=Needs.QEMU,
        look=_drift,
    ),
)
