"""The cache directory: where it is, and that nothing half-written is seen in it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vmjitter.effects.lock import locked
from vmjitter.guest.cache import cache_root, publish_directory, publish_file


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/a", "/b", "/a"),
        ("", "/b", "/b/vmjitter"),
        ("", "relative", "/home/me/.cache/vmjitter"),
        ("", "", "/home/me/.cache/vmjitter"),
    ],
)
def test_where_it_is(monkeypatch: pytest.MonkeyPatch, own: str, shared: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("VMJITTER_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", shared)
    assert cache_root() == Path(expected)


def test_a_published_file_replaces_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    publish_file(path, b"one")
    publish_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_published_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        publish_file(tmp_path / "taken", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "packages" / "one"
    with publish_directory(path) as directory:
        (directory / "file").write_text("x")
        assert not path.exists()
    assert (path / "file").read_text() == "x"
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_does_not_appear_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with pytest.raises(RuntimeError), publish_directory(path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_predecessor_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "one"
    (tmp_path / ".one.partial").mkdir()
    (tmp_path / ".one.partial" / "old").touch()
    with publish_directory(path):
        pass
    assert list(path.iterdir()) == []


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    order: list[str] = []

    def other() -> None:
        with locked(path):
            order.append("other")

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "other"]
