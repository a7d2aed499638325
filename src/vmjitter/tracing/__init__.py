"""Start, stop, collect: the host's trace events, QEMU's, the guest's, and counters of threads."""
