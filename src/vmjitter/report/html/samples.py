"""The samples inside the page: every one of them, in the fewest bytes that a browser can unpack.

A latency is stored as its distance from the smallest one, plus 1; 0 stands for a missed
activation.  Such a number below 16 is its own *symbol*; of a greater one the symbol holds where
its highest bit is and the three bits after it, as in the buckets of an HdrHistogram, and the bits
below follow as they are.  The symbols take a byte each (two where a latency is above 17 s) and are
deflated (RFC 1951); the bits below are noise, which nothing makes smaller, and are only put behind
each other, lowest first.  Both are written in the base-85 alphabet of RFC 1924, with a comma for
its "<", which may not stand in a page.  Four characters in base 64 hold three bytes; five in base
85 hold four.

A trial with more activations than fit is stored by the extremes of its blocks, never by averages or
by a choice of samples, and its latest wake-ups are stored each with its place.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vmjitter.stats.digest import Digest
from vmjitter.stats.histogram import MISSED
from vmjitter.store.reader import Trial

Int64s = NDArray[np.int64]
Codes = NDArray[np.uint64]

FULL_ACTIVATIONS: Final = 4_000_000
"""So many activations are stored one by one in a page, all its trials together."""

LONG_PEAKS: Final = 4096
"""So many of the latest wake-ups are stored with their places beside the extremes of blocks."""

_WINDOW: Final = -15
"""Deflate without a header, with the longest window."""

_TOP_BITS: Final = np.uint64(3)
_CHUNK: Final = 1 << 16


def payload(trial: Trial, *, full: bool) -> Markup:
    """The samples of a trial as JSON text for a script element.

    Args:
        trial: its order is known.
        full: every sample; else the extremes of the digest's blocks and the latest wake-ups.
    """
    digest = trial.digest
    head: dict[str, object] = {
        "period_ns": digest.period_ns,
        "count": digest.activations,
        "kind": "all" if full else "blocks",
    }
    body = {"value": packed(trial.latency_ns)} if full else _blocks(digest)
    return script_json(head | body)


def _blocks(digest: Digest) -> dict[str, object]:
    blocks = digest.blocks
    order = np.lexsort((digest.peak_index, -digest.peak_ns))[:LONG_PEAKS]
    places = np.sort(digest.peak_index[order])
    peaks = digest.peak_ns[np.searchsorted(digest.peak_index, places)]
    return {
        "size": blocks.size,
        "low": packed(blocks.min_ns),
        "high": packed(blocks.max_ns),
        "missed": packed(blocks.overruns),
        "peak_step": packed(np.diff(places, prepend=0)),
        "peak": packed(peaks),
    }


def packed(values: Int64s) -> dict[str, object]:
    """An array with what is needed to unpack it; `MISSED` stays what it is."""
    missed = values == MISSED
    base = int(values[~missed].min()) if not missed.all() else 0
    codes = np.where(missed, 0, values - base + 1).astype(np.uint64)
    below = _bits_below(codes)
    symbols = (below << _TOP_BITS) + (codes >> below)
    planes = 2 if symbols.max(initial=0) > 255 else 1
    return {
        "length": len(values),
        "base": base,
        "planes": planes,
        "symbols": _text(_deflated(_planes(symbols, planes))),
        "bits": _text(_low_bits(codes, below)),
    }


def _bits_below(codes: Codes) -> Codes:
    """How many bits of each code its symbol leaves out."""
    powers = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
    length = np.searchsorted(powers, codes, side="right")
    return np.asarray(np.maximum(length - int(_TOP_BITS) - 1, 0), np.uint64)


def _planes(symbols: Codes, planes: int) -> bytes:
    """The lowest byte of each symbol, then the next one of each."""
    split = symbols.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :planes].T
    return np.ascontiguousarray(split).tobytes()


def _low_bits(codes: Codes, below: Codes) -> bytes:
    """The lowest bits of each code behind each other, from the lowest bit of a byte on."""
    parts = [np.empty(0, np.uint8)]
    for start in range(0, len(codes), _CHUNK):
        code, count = codes[start : start + _CHUNK, None], below[start : start + _CHUNK, None]
        places = np.arange(int(count.max()), dtype=np.uint64)
        parts.append(((code >> places) & np.uint64(1)).astype(np.uint8)[places < count])
    return np.packbits(np.concatenate(parts), bitorder="little").tobytes()


def _deflated(data: bytes) -> bytes:
    """Symbols hardly repeat in order, so runs and their frequencies are all there is to find."""
    squeezer = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 9, zlib.Z_RLE)
    return squeezer.compress(data) + squeezer.flush()


def _text(data: bytes) -> str:
    return base64.b85encode(data).decode().replace("<", ",")


def script_json(value: object) -> Markup:
    """JSON that cannot end the script element it stands in."""
    shown = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(shown.replace("<", "\\u003c"))  # noqa: S704 - escaped right here
