"""Does a guest under QEMU/KVM wake up on time, and if not, why."""

__version__ = "0.1.0.dev0"
