"""Trees of packages: how their programs are run, and how they are fetched."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from vmjitter.errors import CommandFailed, MissingCapability
from vmjitter.guest import apt
from vmjitter.guest.tree import Tree, fetch_tree, find_tree

LIBRARY = "usr/lib/x86_64-linux-gnu"
LOADER = "ld-linux-x86-64.so.2"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree whose loader writes down how it was called."""
    root = tmp_path / "tree"
    (root / LIBRARY).mkdir(parents=True)
    script = f"""#!/bin/sh
case "$*" in
*--list*broken) echo 'libx.so: cannot open shared object file' >&2; exit 127 ;;
*--list*) cat <<END
	linux-vdso.so.1 (0x00007ffd4b5e9000)
	libz.so.1 => {root}/{LIBRARY}/libz.so.1 (0x00007f1d00000000)
	libc.so.6 => {root}/lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c00000000)
	{root}/{LIBRARY}/{LOADER} (0x00007f1e00000000)
	/lib64/{LOADER} => {root}/{LIBRARY}/{LOADER} (0x00007f1e00000000)
END
;;
*) echo "$@" ;;
esac
"""
    (root / LIBRARY / LOADER).write_text(script)
    (root / LIBRARY / LOADER).chmod(0o755)
    return Tree(root=root, packages={})


def test_a_program_runs_through_the_trees_own_loader(tree: Tree) -> None:
    argv = tree.argv("usr/bin/x")
    assert argv[0] == str(tree.root / LIBRARY / LOADER)
    done = subprocess.run([*argv, "word"], capture_output=True, text=True, check=True)
    assert done.stdout == f"--library-path {tree.root / LIBRARY} {tree.root}/usr/bin/x word\n"


def test_libraries_are_preloaded_on_demand(tree: Tree) -> None:
    assert "--preload" not in tree.argv("usr/bin/x")
    argv = tree.argv("usr/bin/x", preload=["/a.so", "/b.so"])
    assert argv[argv.index("--preload") + 1] == "/a.so:/b.so"
    assert argv.index("--preload") < argv.index(str(tree.root / "usr/bin/x"))


def test_the_library_path_has_what_exists_only(tree: Tree) -> None:
    for name in ("lib/x86_64-linux-gnu", f"{LIBRARY}/pulseaudio"):
        (tree.root / name).mkdir(parents=True)
    fresh = Tree(root=tree.root, packages={})
    names = [str(Path(place).relative_to(tree.root)) for place in fresh.library_path.split(":")]
    assert names == [LIBRARY, "lib/x86_64-linux-gnu", f"{LIBRARY}/pulseaudio"]


def test_libraries_are_listed_by_name_without_the_loader(tree: Tree) -> None:
    assert tree.libraries("usr/bin/x") == {
        "libz.so.1": tree.root / LIBRARY / "libz.so.1",
        "libc.so.6": tree.root / "lib/x86_64-linux-gnu/libc.so.6",
    }


def test_a_missing_library_is_an_error(tree: Tree) -> None:
    with pytest.raises(CommandFailed, match="status 127") as error:
        tree.libraries("usr/bin/broken")
    assert "libx.so" in error.value.evidence


@pytest.mark.parametrize("place", [LIBRARY, "lib/x86_64-linux-gnu"])
def test_the_loader_is_found_in_either_place(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / LOADER).touch()
    assert Tree(root=tmp_path, packages={}).loader == tmp_path / place / LOADER


def test_a_tree_without_a_loader_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=LOADER) as error:
        Tree(root=tmp_path, packages={}).argv("usr/bin/x")
    assert error.value.hint == "vmjitter sim build --refresh"


def test_a_real_program_finds_its_libraries(tmp_path: Path) -> None:
    loader = Path(f"/lib/x86_64-linux-gnu/{LOADER}")
    if not loader.exists():
        pytest.skip("this machine's loader stands elsewhere; run on Debian for x86-64")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/x86_64-linux-gnu").symlink_to(loader.parent)
    (tmp_path / "bin").symlink_to("/bin")
    real = Tree(root=tmp_path, packages={})
    assert "libc.so.6" in real.libraries("bin/sh")
    done = subprocess.run(
        [*real.argv("bin/sh"), "-c", "echo hello"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "hello\n"


class FakeApt:
    """apt's programs as shell scripts; every package needs ``libc6``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        self.calls.touch()
        self.write()

    def write(self, *, version: str = "1%3a2.0-1", install: str = "") -> None:
        self._script(
            "apt-get",
            f"""archives=$(dirname "$APT_CONFIG")/cache/archives
            case "$*" in
            indextargets*) echo 'http://m.invalid/debian/|trixie|main|Debian' ;;
            *install*) {install}
                words="$*"
                for name in ${{words##* install }} libc6; do
                    touch "$archives/${{name}}_{version}_amd64.deb"
                done ;;
            clean) rm -f "$archives"/*.deb ;;
            esac""",
        )
        self._script("apt-cache", "exit 0")
        self._script("apt-config", "exit 0")
        self._script(
            "dpkg-deb",
            'name=$(basename "$2"); name=${name%%_*}\n'
            'mkdir -p "$3/usr/bin" "$3/usr/share/doc/$name" "$3/usr/share/qemu"\n'
            'echo program > "$3/usr/bin/$name"; touch "$3/usr/share/qemu/keep"',
        )

    def _script(self, name: str, body: str) -> None:
        path = self.directory / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n')
        path.chmod(0o755)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    directory = tmp_path / "bin"
    directory.mkdir()
    keyring = tmp_path / "keyring"
    keyring.touch()
    monkeypatch.setattr(apt, "_KEYRINGS", (keyring,))
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return FakeApt(directory)


def test_packages_come_with_what_they_need(fake: FakeApt, tmp_path: Path) -> None:
    tree = fetch_tree(("qemu", "dash"), suite="trixie", cache=tmp_path / "cache")
    assert tree.packages == dict.fromkeys(("dash", "libc6", "qemu"), "1:2.0-1")
    assert {path.name for path in (tree.root / "usr/bin").iterdir()} == {"dash", "libc6", "qemu"}
    assert (tree.root / "usr/share/qemu/keep").exists()
    assert not (tree.root / "usr/share/doc").exists()
    assert "apt-get -qq -y --no-install-recommends -d install dash qemu" in fake.called()


def test_it_is_recorded_and_downloads_are_not_kept(fake: FakeApt, tmp_path: Path) -> None:
    tree = fetch_tree(("qemu",), cache=tmp_path / "cache")
    assert json.loads((tree.root.parent / "packages.json").read_text()) == tree.packages
    assert not list((tmp_path / "cache").rglob("*.deb"))
    assert fake.called()[-1] == "apt-get clean"


def test_the_second_time_needs_no_apt(
    fake: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch_tree(("qemu", "dash"), cache=tmp_path / "cache")
    before = fake.called()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert fetch_tree(("dash", "qemu"), cache=tmp_path / "cache") == first
    assert find_tree(("qemu", "dash"), cache=tmp_path / "cache") == first
    assert fake.called() == before


def test_other_packages_and_other_suites_are_other_trees(fake: FakeApt, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    roots = {
        fetch_tree(packages, suite=suite, cache=cache).root
        for packages in (("a",), ("a", "b"))
        for suite in ("bookworm", "trixie")
    }
    assert len(roots) == 4
    sources = [path.read_text().split()[-2] for path in sorted(cache.rglob("sources.list"))]
    assert sources == ["bookworm", "trixie"]
    assert fake.called()


def test_refresh_replaces_the_tree(fake: FakeApt, tmp_path: Path) -> None:
    first = fetch_tree(("qemu",), cache=tmp_path / "cache")
    (first.root / "old").touch()
    fake.write(version="3.0")
    assert fetch_tree(("qemu",), cache=tmp_path / "cache").packages == first.packages
    new = fetch_tree(("qemu",), cache=tmp_path / "cache", refresh=True)
    assert set(new.packages.values()) == {"3.0"}
    assert new.root == first.root
    assert not (new.root / "old").exists()


def test_without_anything_there_is_no_tree(tmp_path: Path) -> None:
    assert find_tree(("qemu",), cache=tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", ["", "{"])
def test_a_damaged_record_is_fetched_again(fake: FakeApt, tmp_path: Path, content: str) -> None:
    tree = fetch_tree(("qemu",), cache=tmp_path / "cache")
    (tree.root.parent / "packages.json").write_text(content)
    fake.calls.write_text("")
    assert fetch_tree(("qemu",), cache=tmp_path / "cache") == tree
    assert "apt-get -qq update" in fake.called()


def test_a_failed_download_leaves_no_tree(fake: FakeApt, tmp_path: Path) -> None:
    fake.write(install="echo 'E: Unable to locate package qemu' >&2; exit 100;")
    with pytest.raises(CommandFailed, match="apt-get qemu failed") as error:
        fetch_tree(("qemu",), cache=tmp_path / "cache")
    assert "Unable to locate" in error.value.evidence
    assert find_tree(("qemu",), cache=tmp_path / "cache") is None
    assert list((tmp_path / "cache/trees").iterdir()) == []


def test_what_an_interrupted_fetch_left_does_not_come_along(fake: FakeApt, tmp_path: Path) -> None:
    fake.write(version="1.0", install="exit 100;")
    with pytest.raises(CommandFailed):
        fetch_tree(("qemu",), cache=tmp_path / "cache")
    (archives,) = (tmp_path / "cache/apt").glob("*/cache/archives")
    (archives / "qemu_1.0_amd64.deb").touch()
    (archives / "other_1.0_amd64.deb").touch()
    fake.write(version="2.0")
    tree = fetch_tree(("qemu",), cache=tmp_path / "cache")
    assert tree.packages == {"libc6": "2.0", "qemu": "2.0"}


@pytest.mark.usefixtures("fake")
def test_without_debians_keys_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "_KEYRINGS", (tmp_path / "none",))
    with pytest.raises(MissingCapability, match="keys"):
        fetch_tree(("qemu",), cache=tmp_path / "cache")
