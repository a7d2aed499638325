"""Random numbers of the simulated host, from a seed; runs inside, before anything asks for some.

A simulated processor has no source of chance.  The kernel would find out by counting timer
interrupts in a busy loop for more than a second (``try_to_generate_entropy`` in Linux
drivers/char/random.c); and runs shall differ only where their seeds do.
"""

from __future__ import annotations

import fcntl
import struct
import sys

_RNDADDENTROPY = 0x40085203  # linux/random.h: _IOW('R', 0x03, int[2])
_BYTES = 64


def add_entropy(seed: int, device: str = "/dev/urandom") -> None:
    """Make the kernel's random numbers a function of a seed.

    Raises:
        OSError: the kernel refuses.
    """
    data = seed.to_bytes(_BYTES, "little")
    request = struct.pack("ii", 8 * _BYTES, _BYTES) + data
    with open(device, "wb", buffering=0) as stream:  # noqa: PTH123 - pathlib would be 30 ms more
        fcntl.ioctl(stream, _RNDADDENTROPY, request)


if __name__ == "__main__":
    add_entropy(int(sys.argv[1]))
