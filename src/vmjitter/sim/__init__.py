"""The simulated host: a whole machine in software, with KVM, QEMU and the measuring half in it."""
