"""Several at work in the same places, and what is refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.errors import MissingCapability
from vmjitter.tuning import tuner as tuner_module
from vmjitter.tuning.change import Change
from vmjitter.tuning.journal import Entry, Journal
from vmjitter.tuning.tuner import How, Tuner, owner_of

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Memory:
    """A medium in memory that refuses some values, and some places altogether."""

    values: dict[str, str]
    refused: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    name: str = "memory"
    lasting: bool = False
    written: list[tuple[str, str]] = field(default_factory=list)

    def read(self, place: str) -> str | None:
        if place in self.unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return self.values.get(place)

    def write(self, place: str, value: str) -> None:
        if value in self.refused:
            raise OSError(errno.EPERM, "Operation not permitted")
        self.values[place] = value
        self.written.append((place, value))

    def same(self, one: str, other: str) -> bool:
        return one == other


def change(place: str, wanted: str, *, optional: bool = False) -> Change:
    return Change(medium="memory", place=place, wanted=wanted, optional=optional)


def tuners(directory: Path, memory: Memory, count: int) -> list[Tuner]:
    """As many processes as that."""
    found = [Tuner(Journal(directory), {"memory": memory}) for _ in range(count)]
    for number, tuner in enumerate(found):
        tuner.owner = f"{number + 1}@{number + 1}"
    return found


@pytest.fixture
def memory() -> Memory:
    return Memory({"a": "1", "b": "1"})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_that_overlap_leave_what_was_there_before_both(
    tmp_path: Path, memory: Memory, order: tuple[int, int]
) -> None:
    both = tuners(tmp_path, memory, 2)
    both[0].apply("one", [change("a", "2")])
    both[1].apply("other", [change("a", "3")])
    outcomes = [one.how for which in order for one in both[which].revert(both[which].owned())]
    assert memory.values["a"] == "1"
    assert (
        outcomes
        == {
            (0, 1): [How.HANDED_ON, How.RESTORED],
            (1, 0): [How.RESTORED, How.RESTORED],
        }[order]
    )
    assert both[0].outstanding() == ()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from("1234")), max_size=8
    ),
    ends=st.permutations(range(3)),
)
def test_any_number_of_them_in_any_order_is_the_identity(
    steps: list[tuple[int, str, str]], ends: list[int]
) -> None:
    memory = Memory({"a": "1", "b": "1"})
    with TemporaryDirectory(dir=MEMORY) as directory:
        everybody = tuners(Path(directory), memory, 3)
        for who, place, value in steps:
            everybody[who].apply("knob", [change(place, value)])
        for who in ends:
            everybody[who].revert(everybody[who].owned())
        assert memory.values == {"a": "1", "b": "1"}
        assert everybody[0].outstanding() == ()


def test_who_comes_after_somebody_else_does_not_get_a_foreign_value(
    tmp_path: Path, memory: Memory
) -> None:
    first, second = tuners(tmp_path, memory, 2)
    first.apply("one", [change("a", "2")])
    memory.values["a"] = "foreign"
    second.apply("other", [change("a", "3")])
    [undone] = first.revert(first.owned())
    assert undone.how is How.FOREIGN
    second.revert(second.owned())
    assert memory.values["a"] == "foreign"


def test_a_knob_is_in_force_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    memory = Memory({"a": "1", "b": "1"}, refused=frozenset({"9"}))
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    tuner.apply("before", [change("b", "2")])
    with pytest.raises(MissingCapability, match=r"knob: b = 9 was refused"):
        tuner.apply("knob", [change("a", "2"), change("b", "9")])
    assert memory.values == {"a": "1", "b": "2"}
    assert [entry.knob for entry in tuner.outstanding()] == ["before"]


def test_what_is_optional_may_be_refused_or_unreadable(tmp_path: Path) -> None:
    memory = Memory(
        {"a": "1", "b": "1"}, refused=frozenset({"9"}), unreadable=frozenset({"broken"})
    )
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    wanted = [
        change("a", "9", optional=True),
        change("broken", "2", optional=True),
        change("b", "2", optional=True),
    ]
    assert [one.target for one in tuner.apply("knob", wanted)] == ["b"]
    assert tuner.refused == ["a: Operation not permitted", "broken: Input/output error"]
    with pytest.raises(MissingCapability, match="broken"):
        tuner.apply("knob", [change("broken", "2")])


def test_a_value_that_cannot_be_put_back_stays_in_the_journal(tmp_path: Path) -> None:
    memory = Memory({"a": "1", "b": "1"})
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    tuner.apply("knob", [change("a", "2"), change("b", "2")])
    memory.refused = frozenset({"1"})
    memory.values["b"] = "1"
    restored, failed = tuner.revert(tuner.outstanding())
    assert (restored.how, failed.how) == (How.UNCHANGED, How.FAILED)
    assert failed.reason == "Operation not permitted"
    memory.refused = frozenset()
    [again] = tuner.revert(tuner.outstanding())
    assert (again.how, memory.values["a"]) == (How.RESTORED, "1")


def test_a_full_disk_keeps_nobody_from_putting_back(tmp_path: Path, memory: Memory) -> None:
    tuner = Tuner(Full(tmp_path), {"memory": memory})
    tuner.apply("knob", [change("a", "2"), change("b", "2")])
    Full.full = True
    try:
        with pytest.raises(MissingCapability, match="No space"):
            tuner.revert(tuner.outstanding())
    finally:
        Full.full = False
    assert memory.values == {"a": "1", "b": "1"}
    assert {one.how for one in tuner.revert(tuner.outstanding())} == {How.UNCHANGED}


class Full(Journal):
    """A journal on a disk without space."""

    full = False

    def _append(self, line: dict[str, object]) -> None:
        if self.full:
            raise self._refused(OSError(errno.ENOSPC, "No space left on device"))
        super()._append(line)


def test_looking_changes_nothing_and_tells_the_truth(tmp_path: Path, memory: Memory) -> None:
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    tuner.apply("one", [change("a", "2")])
    tuner.apply("two", [change("a", "3"), change("b", "2")])
    memory.values["b"] = "foreign"
    before = (dict(memory.values), tuner.outstanding())
    seen = tuner.look(tuner.outstanding())
    assert (dict(memory.values), tuner.outstanding()) == before
    done = tuner.revert(tuner.outstanding())
    assert [one.how for one in seen] == [one.how for one in done]
    assert [one.how for one in done] == [How.FOREIGN, How.RESTORED, How.RESTORED]


def test_who_took_it_back_meanwhile_is_not_repeated(tmp_path: Path, memory: Memory) -> None:
    one, other = tuners(tmp_path, memory, 2)
    one.apply("knob", [change("a", "2")])
    stale = one.outstanding()
    other.revert(stale)
    other.apply("knob", [change("b", "5")])  # gets the same number in the new journal
    assert one.revert(stale) == ()
    assert memory.values == {"a": "1", "b": "5"}


def test_everything_that_was_written_has_its_time(tmp_path: Path, memory: Memory) -> None:
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    tuner.apply("knob", [change("a", "2"), change("b", "1")])
    [entry] = tuner.outstanding()
    assert entry.made_ns > 0
    assert entry.utc.endswith("+00:00")
    tuner.revert(tuner.outstanding())
    there, back = tuner.acts
    assert (there.value, back.value) == ("2", "1")
    assert entry.made_ns == there.begin_ns <= there.end_ns <= back.begin_ns <= back.end_ns


def test_an_owner_that_ended_or_is_of_another_boot_is_not_at_work(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = Tuner(Journal(tmp_path), {"memory": memory})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        tuner.owner = owner_of(child.pid)
        tuner.apply("knob", [change("a", "2")])
        mine = Tuner(Journal(tmp_path), {"memory": memory})
        assert [one.knob for one in mine.others_at_work()] == ["knob"]
        with monkeypatch.context() as patch:
            patch.setattr(tuner_module, "boot_id", lambda: "another boot")
            assert mine.others_at_work() == ()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert mine.others_at_work() == (), "a zombie is not at work"


def test_a_journal_of_before_the_stamps_is_read(tmp_path: Path) -> None:
    (tmp_path / "tuning.jsonl").write_text(
        '{"number": 1, "owner": "1@1", "boot": "b", "utc": "", "knob": "k", "medium": "file", '
        '"place": "/x", "title": "/x", "before": "1", "wanted": "2"}\n'
    )
    [entry] = Journal(tmp_path).entries()
    assert isinstance(entry, Entry)
    assert entry.made_ns == 0
