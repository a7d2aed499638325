"""A synchronous face of qemu.qmp."""
