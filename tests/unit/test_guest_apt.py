"""The private apt: its configuration, and how it behaves against stand-ins for apt's programs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vmjitter.errors import CommandFailed, MissingCapability
from vmjitter.guest import apt
from vmjitter.guest.apt import apt_config, apt_sources, busybox, fetch_package, parse_record
from vmjitter.guest.kernels import fetch_kernel

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OPTIONS = f"[arch=i386 signed-by={KEYRING}]"

HOST_CONFIG = """\
APT::Architecture "amd64";
APT::Update::Post-Invoke-Success:: "/bin/echo hook";
Acquire "";
Acquire::AllowInsecureRepositories "1";
Acquire::http::Proxy "http://proxy.invalid:3128";
Acquire::Languages:: "de";
Acquire::IndexTargets::deb::Packages::Optional "0";
Acquire::Retries "3";
Dir::State "var/lib/apt";
"""


def test_only_acquire_is_taken_over_from_the_host() -> None:
    text = apt_config(Path("/cache/apt"), "i386", HOST_CONFIG)
    assert 'Acquire::http::Proxy "http://proxy.invalid:3128";' in text
    assert 'Acquire::Retries "3";' in text
    for unwanted in ("hook", '"de"', "IndexTargets", "var/lib/apt", '"amd64"'):
        assert unwanted not in text


def test_trust_is_not_taken_over_from_the_host() -> None:
    text = apt_config(Path("/cache/apt"), "i386", HOST_CONFIG)
    assert 'AllowInsecureRepositories "1"' not in text
    assert 'Acquire::AllowInsecureRepositories "false";' in text


def test_every_place_that_apt_writes_to_is_ours() -> None:
    text = apt_config(Path("/cache/apt"), "i386", "")
    for name in ("State", "State::status", "Cache", "Log", "Etc::sourcelist"):
        assert f'Dir::{name} "/cache/apt/' in text
    for name in ("main", "parts", "sourceparts", "trusted", "trustedparts"):
        assert f'Dir::Etc::{name} "/dev/null";' in text


@pytest.mark.parametrize(
    ("targets", "uri"),
    [
        ("http://m.invalid/debian/|trixie|main|Debian", "http://m.invalid/debian/"),
        # package lists deleted, as in container images: the variable is not expanded
        ("http://m.invalid/debian/|stable|main|$(ORIGIN)", "http://m.invalid/debian/"),
        (
            """\
http://s.invalid/debian-security/|trixie-security|main|Debian
http://b.invalid/debian/|trixie-backports|main|Debian Backports
http://c.invalid/debian/|trixie|contrib|Debian
http://o.invalid/debian/|trixie|main|Somebody
http://m.invalid/x/|trixie|main|Debian
""",
            "http://m.invalid/x/",
        ),
    ],
)
def test_the_mirror_comes_from_the_hosts_sources(targets: str, uri: str) -> None:
    assert apt_sources(targets, "i386", KEYRING) == f"deb {OPTIONS} {uri} bookworm main\n"


@pytest.mark.parametrize(
    "targets", ["", "http://u.invalid/ubuntu/|noble|main|Ubuntu", "http://u.invalid/x|y|main|$(O)"]
)
def test_a_host_without_a_debian_mirror(targets: str) -> None:
    assert apt_sources(targets, "i386", KEYRING) == ""


def test_record_is_the_first_one_without_continuations() -> None:
    text = "Package: a\nVersion: 2\nDescription: x\n more: y\n\nPackage: a\nVersion: 1\n"
    assert parse_record(text) == {"Package": "a", "Version": "2", "Description": "x"}


META = """\
Package: linux-image-rt-686-pae
Version: 6.1.9-1
Depends: linux-image-6.1.0-9-rt-686-pae (= 6.1.9-1)
"""
PACKAGE = """\
Package: linux-image-6.1.0-9-rt-686-pae
Version: 6.1.9-1
Architecture: i386
Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool
SHA256: {sha256}
"""
ARCHIVE = b"stands for a package\n"


class FakeApt:
    """apt's programs as shell scripts that write down how they were called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        self.calls.touch()
        self.sha256 = hashlib.sha256(ARCHIVE).hexdigest()
        self.write()

    def write(self, *, update: str = "exit 0") -> None:
        (self.directory / "archive").write_bytes(ARCHIVE)
        (self.directory / "meta").write_text(META)
        (self.directory / "package").write_text(PACKAGE.format(sha256=self.sha256))
        there = self.directory
        self._script(
            "apt-get",
            f"""case "$*" in
            indextargets*) echo 'http://m.invalid/debian/|trixie|main|Debian' ;;
            *update) grep -q 'APT::Architecture "i386"' "$APT_CONFIG" || exit 9; {update} ;;
            *download*) cp {there}/archive x.deb ;;
            esac""",
        )
        self._script(
            "apt-cache",
            f"""case "$*" in
            *linux-image-rt-686-pae) cat {there}/meta ;;
            *linux-image-6.1.0-9-rt-686-pae) cat {there}/package ;;
            *) echo 'E: No packages found' >&2; exit 100 ;;
            esac""",
        )
        self._script("apt-config", "echo 'Acquire::Retries \"3\";'")
        self._script(
            "dpkg-deb",
            'mkdir -p "$3/boot" "$3/lib/modules/6.1.0-9-rt-686-pae/kernel"\n'
            'echo kernel > "$3/boot/vmlinuz-6.1.0-9-rt-686-pae"',
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


def test_a_kernel_is_fetched_through_its_meta_package(fake: FakeApt, tmp_path: Path) -> None:
    kernel = fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    assert kernel.package == "linux-image-6.1.0-9-rt-686-pae"
    assert kernel.package_version == "6.1.9-1"
    assert kernel.release == "6.1.0-9-rt-686-pae"
    assert kernel.arch == "i386"
    assert kernel.vmlinuz.read_text() == "kernel\n"
    assert kernel.modules is not None
    assert kernel.modules.name == kernel.release
    assert f"apt-get -qq download {kernel.package}=6.1.9-1" in fake.called()


def test_the_second_time_nothing_is_run(
    fake: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    before = fake.called()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert fetch_kernel("debian-rt-i386", cache=tmp_path / "cache") == first
    assert fake.called() == before


def test_refresh_looks_again_but_keeps_what_is_current(fake: FakeApt, tmp_path: Path) -> None:
    fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    fake.calls.write_text("")
    fetch_kernel("debian-rt-i386", cache=tmp_path / "cache", refresh=True)
    assert "apt-get -qq update" in fake.called()
    assert not any("download" in call for call in fake.called())


def test_a_failed_update_shows_apts_words_and_the_other_way(fake: FakeApt, tmp_path: Path) -> None:
    fake.write(update="echo 'E: Could not resolve' >&2; exit 100")
    with pytest.raises(CommandFailed, match="update failed") as caught:
        fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    assert "--kernel FILE --modules DIR" in caught.value.hint
    assert caught.value.evidence == "E: Could not resolve"


def test_a_package_that_does_not_exist(fake: FakeApt, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no package 'busybox-static'"):
        busybox("i386", cache=tmp_path / "cache")
    assert fake.called()


def test_another_file_than_the_signed_one_is_refused(fake: FakeApt, tmp_path: Path) -> None:
    fake.sha256 = "0" * 64
    fake.write()
    with pytest.raises(CommandFailed, match="signed package list"):
        fetch_package("linux-image-rt-686-pae", "i386", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache/packages/i386").glob("linux*"))


def test_a_damaged_index_is_fetched_again(fake: FakeApt, tmp_path: Path) -> None:
    fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    index = tmp_path / "cache/packages/i386/linux-image-rt-686-pae.json"
    index.write_text("[]")
    fake.calls.write_text("")
    fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    assert "apt-get -qq update" in fake.called()


def test_without_apt_the_message_names_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapability, match="apt-get") as caught:
        fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    assert "--kernel FILE --modules DIR" in caught.value.hint


@pytest.mark.usefixtures("fake")
def test_without_debians_keys_the_message_names_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "_KEYRINGS", (tmp_path / "none",))
    with pytest.raises(MissingCapability, match="keys") as caught:
        fetch_kernel("debian-rt-i386", cache=tmp_path / "cache")
    assert "--kernel FILE --modules DIR" in caught.value.hint
