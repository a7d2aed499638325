"""Which device stands behind a register of a PC, where QEMU's own trace does not name it.

Ports as in the tables of QEMU's hw/isa and hw/ide and the PC's de-facto standard; memory as in
hw/i386/pc.c of QEMU.
"""

from __future__ import annotations

from typing import Final

_PORTS: Final = (
    (0x00, 0x0F, "DMA controller"),
    (0x20, 0x21, "interrupt controller (PIC)"),
    (0x40, 0x43, "timer (PIT)"),
    (0x60, 0x64, "keyboard controller"),
    (0x70, 0x71, "clock (RTC)"),
    (0xA0, 0xA1, "interrupt controller (PIC)"),
    (0x170, 0x177, "IDE, secondary"),
    (0x1F0, 0x1F7, "IDE, primary"),
    (0x2F8, 0x2FF, "serial port"),
    (0x376, 0x376, "IDE, secondary"),
    (0x3C0, 0x3DF, "VGA"),
    (0x3F6, 0x3F6, "IDE, primary"),
    (0x3F8, 0x3FF, "serial port"),
    (0x510, 0x511, "firmware configuration"),
    (0x600, 0x63F, "power management (ACPI)"),
    (0xCF8, 0xCFF, "PCI configuration"),
)
_MEMORY: Final = (
    (0xFEC00000, 0xFEC00FFF, "I/O APIC"),
    (0xFED00000, 0xFED003FF, "HPET"),
    (0xFEE00000, 0xFEE00FFF, "local APIC"),
)


def device_name(kind: str, address: int) -> str:
    """The device at an address, or what can be said of it."""
    for first, last, name in _PORTS if kind == "pio" else _MEMORY:
        if first <= address <= last:
            return name
    return "PCI device, port" if kind == "pio" else "PCI device, memory"
