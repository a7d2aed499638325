"""Changes are taken back, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.killing import Fragile, Fuse, Killed
from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import cpu_list, cpu_set, read_cpus, thread
from vmjitter.errors import DataError, MissingCapability
from vmjitter.tuning import tuner as tuner_module
from vmjitter.tuning.change import Change
from vmjitter.tuning.journal import Entry, Journal, boot_id
from vmjitter.tuning.media import media
from vmjitter.tuning.media.file import File, chosen
from vmjitter.tuning.media.thread import thread_place
from vmjitter.tuning.tuner import How, Tuner

PLACES = ("a", "b", "c")


@dataclass
class Memory:
    """A medium in memory."""

    values: dict[str, str]
    fuse: Fuse = field(default_factory=lambda: Fuse(-1))
    name: str = "memory"
    lasting: bool = False

    def read(self, place: str) -> str | None:
        return self.values.get(place)

    def write(self, place: str, value: str) -> None:
        self.fuse.step()
        self.values[place] = value
        self.fuse.step()

    def same(self, one: str, other: str) -> bool:
        return one == other


def changes(wanted: Sequence[tuple[str, str]]) -> list[Change]:
    return [Change(medium="memory", place=place, wanted=value) for place, value in wanted]


WANTED = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from("xyz")), max_size=6)


@settings(max_examples=200, deadline=None)
@given(wanted=st.lists(WANTED, max_size=3), die_at=st.integers(1, 90), die_again=st.integers(1, 60))
def test_apply_then_revert_is_the_identity_even_if_killed_at_any_point(
    wanted: list[list[tuple[str, str]]], die_at: int, die_again: int
) -> None:
    before = dict.fromkeys(PLACES, "x")
    memory = Memory(dict(before))
    with TemporaryDirectory() as name:
        directory = Path(name)
        with suppress(Killed):
            memory.fuse = Fuse(die_at)
            tuner = Tuner(Fragile(directory, memory.fuse), {"memory": memory})
            for number, some in enumerate(wanted):
                tuner.apply(f"knob-{number}", changes(some))
        with suppress(Killed):
            memory.fuse = Fuse(die_again)
            tuner = Tuner(Fragile(directory, memory.fuse), {"memory": memory})
            tuner.revert(tuner.outstanding())
        memory.fuse = Fuse(-1)
        tuner = Tuner(Journal(directory), {"memory": memory})
        undone = tuner.revert(tuner.outstanding())
        assert memory.values == before
        assert tuner.outstanding() == ()
        assert {one.how for one in undone} <= {How.RESTORED, How.UNCHANGED}
        assert tuner.revert(tuner.outstanding()) == ()


@pytest.fixture
def memory() -> Memory:
    return Memory(dict.fromkeys(PLACES, "x"))


@pytest.fixture
def tuner(memory: Memory, tmp_path: Path) -> Tuner:
    return Tuner(Journal(tmp_path / "state"), {"memory": memory})


def test_what_somebody_else_changed_is_left_alone(memory: Memory, tuner: Tuner) -> None:
    tuner.apply("knob", changes([("a", "y"), ("b", "y")]))
    memory.values["a"] = "foreign"
    first, second = tuner.revert(tuner.outstanding())
    assert (first.how, first.entry.place) == (How.RESTORED, "b")
    assert (second.how, second.found) == (How.FOREIGN, "foreign")
    assert memory.values == {"a": "foreign", "b": "x", "c": "x"}


def test_results_say_before_wanted_and_found(memory: Memory, tuner: Tuner) -> None:
    wanted = changes([("a", "y"), ("b", "x"), ("nowhere", "y")])
    made = tuner.apply("knob", wanted)
    assert [(one.target, one.before, one.read_back) for one in made] == [
        ("a", "x", "y"),
        ("b", "x", "x"),
    ]
    assert [entry.place for entry in tuner.outstanding()] == ["a"], "what is so already stays"
    memory.values["a"] = "z"
    after = tuner.verify(wanted, made)
    assert [(one.after, one.in_force) for one in after] == [("z", False), ("x", True)]


def test_a_missing_place_is_left_out(tmp_path: Path) -> None:
    tree = SysTree(root=tmp_path)
    (tmp_path / "good").write_text("1\n")
    refusing = Tuner(Journal(tmp_path / "state"), media(tree))
    both = [Change(medium="file", place=place, wanted="2") for place in ("/good", "/missing")]
    assert [one.target for one in refusing.apply("knob", both)] == ["/good"]
    assert (tmp_path / "good").read_text() == "2"
    refusing.revert(refusing.outstanding())
    assert (tmp_path / "good").read_text() == "1"


def test_after_a_restart_only_lasting_changes_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "setting").write_text("1")
    tuner = Tuner(Journal(tmp_path / "state"), media(SysTree(root=tmp_path)))
    tuner.apply("knob", [Change(medium="file", place="/setting", wanted="2")])
    tuner.apply("knob", [Change(medium="drop-in", place="/kvm.conf", wanted="options kvm x=1\n")])
    assert (tmp_path / "kvm.conf").read_text() == "options kvm x=1\n"
    monkeypatch.setattr(tuner_module, "boot_id", lambda: "another boot")
    undone = tuner.revert(tuner.outstanding())
    assert [one.how for one in undone] == [How.RESTORED, How.REBOOTED]
    assert not (tmp_path / "kvm.conf").exists()
    assert (tmp_path / "setting").read_text() == "2"


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "tuning.jsonl").write_text('{"number": 1}\nnonsense\n')
    with pytest.raises(DataError, match="line 1") as caught:
        journal.entries()
    assert "by hand" in caught.value.hint


def test_an_unwritable_journal_changes_nothing(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    tuner = Tuner(Journal(tmp_path / "state"), {"memory": memory})
    with pytest.raises((MissingCapability, DataError)):
        tuner.apply("knob", changes([("a", "y")]))
    assert memory.values["a"] == "x"


def test_threads_get_their_cpus_back(tmp_path: Path) -> None:
    me = thread(os.getpid())
    assert me is not None
    before = read_cpus(me.tid)
    one = str(min(cpu_set(before)))
    tuner = Tuner(Journal(tmp_path), media())
    try:
        [made] = tuner.apply("pin", [Change(medium="cpus", place=thread_place(me), wanted=one)])
        assert (made.before, made.read_back, read_cpus(me.tid)) == (before, one, one)
    finally:
        tuner.revert(tuner.outstanding())
    assert read_cpus(me.tid) == before


def test_a_thread_that_ended_is_gone_and_its_successor_is_not_touched(tmp_path: Path) -> None:
    place = f"{os.getpid()}@1"  # the same id, another start
    tuner = Tuner(Journal(tmp_path), media())
    assert tuner.apply("pin", [Change(medium="cpus", place=place, wanted="0")]) == ()
    entry = Entry(
        number=1,
        owner="",
        boot=boot_id(),
        utc="",
        knob="pin",
        medium="policy",
        place=place,
        title="",
        before="fifo 1",
        wanted="other",
    )
    Journal(tmp_path).add(entry)
    [undone] = tuner.revert(tuner.outstanding())
    assert undone.how is How.GONE


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0000,00000003", "3", True),
        ("00000000,00000003", "00000003", True),
        ("3", "30", False),
        ("0", "00", True),
        ("950000", "950000", True),
        ("-1", "-1", True),
        ("3 4 1 7", "3\t4\t1\t7", True),
        ("never", "madvise", False),
    ],
)
def test_the_kernel_may_write_a_value_in_its_own_way(one: str, other: str, *, same: bool) -> None:
    assert File(SysTree()).same(one, other) is same


def test_the_chosen_one_of_several() -> None:
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("never") == "never"


@given(st.frozensets(st.integers(0, 200)))
def test_cpu_lists(cpus: frozenset[int]) -> None:
    assert cpu_set(cpu_list(cpus)) == cpus
