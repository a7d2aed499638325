"""QEMU: its command line, its lifetime, its threads."""
