"""What stands in the way of a guest that has to wake up on time: checks, before any measurement.

A check is a pure function of a view: what the kernel's files say, and a few facts that no file
has.  `checks` looks at this host, `vm` at a QEMU that runs, `guest` at a guest from inside.
"""
