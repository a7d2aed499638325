"""The simulated host: a whole x86 machine in software, with KVM, QEMU and the measuring half in it."""
