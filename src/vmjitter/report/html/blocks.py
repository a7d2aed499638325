"""What the page is built of: sections hold tables, figures, lists and folds; no markup in here.

The sections say what is to be shown, the template says how.  Every text is escaped when it is
put into the page; only `Figure.svg` is markup, and comes from `vmjitter.report.html.svg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from markupsafe import Markup

NONE = "\N{EN DASH}"
"""In a cell: there is no such value."""


class Tone(StrEnum):
    """How a text stands out; never by colour alone, the words say it, too."""

    PLAIN = ""
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    ASIDE = "aside"
    STRONG = "strong"
    STRUCK = "struck"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table.

    Attributes:
        number: it is set to the right.
        code: it is set in a fixed pitch.
    """

    text: str
    tone: Tone = Tone.PLAIN
    number: bool = False
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; the first cell is its heading."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a heading per column and per row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    kind: str = "table"


@dataclass(frozen=True, kw_only=True)
class Paragraphs:
    """Sentences below each other."""

    texts: tuple[str, ...]
    tone: Tone = Tone.PLAIN
    kind: str = "paragraphs"


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list with a heading of its own."""

    title: str
    items: tuple[str, ...]
    tone: Tone = Tone.PLAIN
    kind: str = "bullets"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text that is meant to be copied as it is."""

    text: str
    title: str = ""
    kind: str = "code"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A static picture; its alternative text is inside the SVG.

    Attributes:
        legend: words for the lines, with the classes that make each.
    """

    title: str
    svg: Markup
    caption: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    kind: str = "figure"


@dataclass(frozen=True, kw_only=True)
class SeriesFigure:
    """A picture that becomes a chart to zoom into where scripts run.

    Attributes:
        payload: the samples as JSON text, safe inside a script element; empty if there is none.
        group: figures of the same group share their vertical scale.
    """

    title: str
    svg: Markup
    caption: str
    name: str
    payload: Markup
    group: str = ""
    kind: str = "series"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Figures beside each other where there is room."""

    figures: tuple[Figure | SeriesFigure, ...]
    kind: str = "grid"


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks that are folded away on a screen, and open on paper and without scripts.

    Attributes:
        unfolded: they are open on a screen at first, too.
    """

    title: str
    blocks: tuple[Block, ...]
    unfolded: bool = False
    kind: str = "fold"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The box at the top.

    Attributes:
        word: in capitals; ``tone`` colours the box.
        trials: per trial its name, word, tone, sentence and reasons.
    """

    word: str
    tone: Tone
    target: str
    trials: tuple[TrialVerdict, ...]
    kind: str = "verdict"


@dataclass(frozen=True, kw_only=True)
class TrialVerdict:
    """The verdict on one trial."""

    name: str
    word: str
    tone: Tone
    sentence: str
    reasons: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()


Block = Table | Paragraphs | Bullets | Code | Figure | SeriesFigure | Grid | Fold | Verdict


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page with a heading and a place that can be linked to."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = field(default=())


def text(value: str, tone: Tone = Tone.PLAIN) -> Cell:
    """A cell with words."""
    return Cell(text=value or NONE, tone=tone)


def number(value: str, tone: Tone = Tone.PLAIN) -> Cell:
    """A cell with a figure."""
    return Cell(text=value, tone=tone, number=True)


def code(value: str) -> Cell:
    """A cell with a command or a value as the machine gave it."""
    return Cell(text=value or NONE, code=True)


def row(*cells: Cell) -> Row:
    """A row."""
    return Row(cells=cells)


def table(caption: str, columns: Sequence[str], rows: Sequence[Row]) -> Table:
    """A table."""
    return Table(caption=caption, columns=tuple(columns), rows=tuple(rows))


def paragraphs(*texts: str, tone: Tone = Tone.PLAIN) -> Paragraphs:
    """Sentences; empty ones are left out."""
    return Paragraphs(texts=tuple(filter(None, texts)), tone=tone)
