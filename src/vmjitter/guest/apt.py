"""Fetch Debian packages through apt's own signature check, without touching the host's apt.

Configuration, package lists, state and downloads live in our cache; of the host only the
address of its Debian mirror and its ``Acquire`` settings (proxy, retries ...) are taken over.
Every kernel comes from one fixed release, so that all hosts measure with the same guests; that
release is also the last one of Debian with kernels for i386.  Its security archive is left out:
it changes weekly, the release itself hardly ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vmjitter.effects import process
from vmjitter.effects.lock import locked
from vmjitter.errors import CommandFailed, MissingCapability
from vmjitter.guest.cache import cache_root, publish_directory, publish_file

SUITE: Final = "bookworm"
"""The Debian release that packages are taken from."""

Arch = Literal["i386", "x86_64"]
"""What QEMU and uname call the processor."""

_DEBIAN_ARCH: Final[Mapping[Arch, str]] = {"i386": "i386", "x86_64": "amd64"}
_OWN_KERNEL: Final = "give a kernel of your own with --kernel FILE --modules DIR"
# Debian 13 ships the first name as a link to the second
_KEYRINGS: Final = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
# what the host may not decide for us: which lists are fetched, and trust
_NOT_TAKEN_OVER: Final = (
    "Acquire::IndexTargets",
    "Acquire::Languages",
    "Acquire::Changelogs",
    "Acquire::CompressionTypes",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
)
# those that live at another address, or are signed and kept separately
_OTHER_ARCHIVES: Final = (
    "-security",
    "/updates",
    "-backports",
    "-backports-sloppy",
    "-proposed-updates",
)
_TARGET_FORMAT: Final = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
_TIMEOUT_S: Final = 900.0


@dataclass(frozen=True, kw_only=True)
class Package:
    """An unpacked package in the cache.

    Args:
        name: the package that has the files; not the one that only depends on it.
        version: its exact version.
        arch: Debian's name of the architecture.
        sha256: of the ``.deb``, as in the signed package list.
        root: directory with the package's files.
    """

    name: str
    version: str
    arch: str
    sha256: str
    root: Path


def fetch_package(
    name: str, arch: Arch, *, cache: Path | None = None, refresh: bool = False
) -> Package:
    """Return a package, unpacked; it is downloaded when the cache does not have it.

    A kernel's meta package stands for the kernel package that it depends on.  What the cache
    has is used as it is, without any network.

    Args:
        name: e.g. ``"linux-image-rt-686-pae"``.
        arch: architecture of the guest.
        cache: cache directory; `cache_root` if None.
        refresh: look for a newer version even if the cache has one.

    Raises:
        MissingCapability: no apt, no Debian keyring, or no Debian mirror configured here.
        CommandFailed: apt could not download or verify it.
    """
    root = cache or cache_root()
    store = root / "packages" / _DEBIAN_ARCH[arch]
    # one lock for all that uses the private apt, whose own would refuse instead of waiting
    with locked(root / "apt" / ".lock"):
        if not refresh and (known := _read_index(store, name)):
            return known
        apt = PrivateApt(root, arch)
        apt.update()
        record = _kernel_behind(apt, apt.show(name))
        package = _unpacked(apt, record, store)
        _write_index(store, name, package)
        return package


def busybox(arch: Arch, *, cache: Path | None = None, refresh: bool = False) -> Path:
    """Return the static busybox for a guest; arguments and errors as for `fetch_package`."""
    package = fetch_package("busybox-static", arch, cache=cache, refresh=refresh)
    # merged /usr: a later package may ship it below usr
    places = [package.root / "bin/busybox", package.root / "usr/bin/busybox"]
    for place in places:
        if place.is_file():
            return place
    raise CommandFailed(f"{package.name} {package.version} has no bin/busybox")


def apt_config(directory: Path, arch: str, host: str) -> str:
    """The text of the private apt.conf.

    Everything that apt reads or writes is moved into ``directory`` (apt.conf(5), "DIRECTORIES").
    The file is named by ``$APT_CONFIG``, which apt reads before the host's own files; because
    it points ``Dir::Etc::main`` and ``Dir::Etc::parts`` elsewhere, those are not read at all,
    and so no hook of the host runs.

    Args:
        directory: where apt's files go.
        arch: Debian's name of the architecture.
        host: output of ``apt-config dump`` on this host.
    """
    lines = [
        *_taken_over(host),
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        # another user could not enter a cache below a home directory
        'APT::Sandbox::User "root";',
        # without this, `apt-get update` succeeds when a list could not be fetched
        'APT::Update::Error-Mode "any";',
        'Acquire::AllowInsecureRepositories "false";',
        'Acquire::AllowWeakRepositories "false";',
        'Acquire::AllowDowngradeToInsecureRepositories "false";',
        'Acquire::Languages { "none"; };',
        'Acquire::PDiffs "false";',
        f'Dir::State "{directory}/state";',
        f'Dir::State::status "{directory}/status";',
        f'Dir::Cache "{directory}/cache";',
        'Dir::Cache::srcpkgcache "";',
        f'Dir::Log "{directory}/log";',
        f'Dir::Etc::sourcelist "{directory}/sources.list";',
        *(
            f'Dir::Etc::{name} "/dev/null";'
            for name in (
                "main",
                "parts",
                "sourceparts",
                "preferences",
                "preferencesparts",
                "trusted",
                "trustedparts",
            )
        ),
    ]
    return "\n".join(lines) + "\n"


def apt_sources(targets: str, arch: str, keyring: Path, suite: str = SUITE) -> str:
    """The text of the private sources.list, empty if the host has no Debian mirror.

    Args:
        targets: lines ``uri|release|component|origin`` from ``apt-get indextargets``.
        arch: Debian's name of the architecture.
        keyring: file with the keys that must have signed.
        suite: the Debian release to take.
    """
    for line in targets.splitlines():
        uri, release, component, origin = [*line.split("|"), "", "", ""][:4]
        if component != "main" or not _is_debian(uri, origin) or " " in uri:
            continue
        # what is left is the archive itself: "trixie", "stable", "trixie-updates"
        if not release.endswith(_OTHER_ARCHIVES):
            return f"deb [arch={arch} signed-by={keyring}] {uri} {suite} main\n"
    return ""


def _is_debian(uri: str, origin: str) -> bool:
    # without the host's package lists the variable comes back unexpanded
    if origin and not origin.startswith("$("):
        return origin == "Debian"
    return uri.rstrip("/").rpartition("/")[2].startswith("debian")


def _taken_over(host: str) -> list[str]:
    return [
        line
        for line in host.splitlines()
        if re.fullmatch(r'Acquire::\S+ "[^"]*";', line) and not line.startswith(_NOT_TAKEN_OVER)
    ]


def find_sources(arch: Arch, suite: str = SUITE) -> str:
    """The text of the private sources.list for this host; nothing is written or fetched.

    Raises:
        MissingCapability: no apt, no Debian keyring, or no Debian mirror configured here.
    """
    keyring = next((path for path in _KEYRINGS if path.exists()), None)
    if keyring is None:
        raise MissingCapability(
            "the keys of the Debian archive are not installed here",
            hint=f"install debian-archive-keyring, or {_OWN_KERNEL}",
        )
    targets = _index_targets(_find("apt-get"))
    sources = apt_sources(targets, _DEBIAN_ARCH[arch], keyring, suite)
    if not sources:
        raise MissingCapability(
            "apt on this host has no Debian mirror configured", hint=_OWN_KERNEL
        )
    return sources


class PrivateApt:
    """apt with everything in one directory of ours.

    Args:
        cache: cache directory; apt's files go below it.
        arch: architecture of the packages.
        suite: Debian release that they come from.

    Raises:
        MissingCapability: no apt, no Debian keyring, or no Debian mirror configured here.
    """

    def __init__(self, cache: Path, arch: Arch, suite: str = SUITE) -> None:
        self._suite = suite
        self._directory = directory = cache / "apt" / f"{suite}-{_DEBIAN_ARCH[arch]}"
        self._apt_get = _find("apt-get")
        self._apt_cache = _find("apt-cache")
        self._dpkg_deb = _find("dpkg-deb")
        self._prepare(_DEBIAN_ARCH[arch], find_sources(arch, suite))
        self._env = {**os.environ, "APT_CONFIG": str(directory / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def _prepare(self, arch: str, sources: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "log"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        (self._directory / "status").touch()
        (self._directory / "sources.list").write_text(sources)
        dump = process.check([_find("apt-config"), "dump"]).stdout
        text = apt_config(self._directory, arch, dump)
        # it may hold a proxy's password
        configuration = self._directory / "apt.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(text)

    def update(self) -> None:
        """Fetch the package lists; unchanged ones are not transferred again."""
        self._run([self._apt_get, "-qq", "update"])

    def show(self, name: str) -> Mapping[str, str]:
        """The fields of a package's record in the signed lists."""
        done = process.run(
            [self._apt_cache, "show", "--no-all-versions", name],
            env=self._env,
            timeout_s=_TIMEOUT_S,
        )
        record = parse_record(done.stdout)
        if not record:
            raise CommandFailed(
                f"Debian {self._suite} on the configured mirror has no package {name!r}",
                hint=_OWN_KERNEL,
                evidence=done.stderr.strip(),
            )
        return record

    def download(self, name: str, version: str, into: Path) -> Path:
        """Download a package; apt compares its checksum with the signed list."""
        self._run([self._apt_get, "-qq", "download", f"{name}={version}"], cwd=into)
        return next(into.glob("*.deb"))

    def download_with_needs(self, names: Sequence[str]) -> list[Path]:
        """Download packages and everything that they depend on, as if nothing were installed.

        Recommended packages are left out.  The files stay apt's: `forget_downloads`.
        """
        self.forget_downloads()  # what an interrupted fetch left is not part of this one
        self._run([self._apt_get, "-qq", "-y", "--no-install-recommends", "-d", "install", *names])
        return sorted((self._directory / "cache/archives").glob("*.deb"))

    def forget_downloads(self) -> None:
        """Remove the files that `download_with_needs` brought."""
        self._run([self._apt_get, "clean"])

    def unpack(self, archive: Path, into: Path) -> None:
        """Unpack a package's files."""
        self._run([self._dpkg_deb, "-x", str(archive), str(into)])

    def _run(self, argv: list[str], *, cwd: Path | None = None) -> None:
        done = process.run(argv, env=self._env, cwd=cwd, timeout_s=_TIMEOUT_S)
        if done.status != 0:
            raise CommandFailed(
                f"{Path(argv[0]).name} {argv[-1]} failed with status {done.status}",
                hint=f"check network, proxy and the mirror in apt's sources, or {_OWN_KERNEL}",
                evidence=(done.stderr or done.stdout).strip(),
            )


def _index_targets(apt_get: str) -> str:
    # the first run knows each origin but shows only what the host has lists of; the second shows
    # what is configured, which is all there is in a fresh container
    listed = [apt_get, "indextargets", "--format", _TARGET_FORMAT, "Identifier: Packages"]
    return (
        process.check(listed).stdout + "\n" + process.check([*listed, "--no-release-info"]).stdout
    )


def parse_record(text: str) -> dict[str, str]:
    """The fields of the first record in ``apt-cache show`` output, without continuation lines."""
    record: dict[str, str] = {}
    for line in text.strip().splitlines():
        if not line:
            break
        key, colon, value = line.partition(": ")
        if colon and not key[0].isspace():
            record[key] = value.strip()
    return record


def _find(name: str) -> str:
    return process.find_program(
        name, hint=f"kernels are downloaded by apt on Debian; elsewhere {_OWN_KERNEL}"
    )


def _kernel_behind(apt: PrivateApt, record: Mapping[str, str]) -> Mapping[str, str]:
    for dependency in record.get("Depends", "").split(","):
        name = dependency.strip().partition(" ")[0]
        if name.startswith("linux-image-"):
            return apt.show(name)
    return record


def _unpacked(apt: PrivateApt, record: Mapping[str, str], store: Path) -> Package:
    name, version, sha256 = record["Package"], record["Version"], record["SHA256"]
    root = store / f"{name}_{version.replace(':', '%3a')}"
    package = Package(
        name=name, version=version, arch=record["Architecture"], sha256=sha256, root=root
    )
    if root.is_dir():
        return package
    with publish_directory(root) as directory:
        downloads = directory / "download"
        downloads.mkdir()
        archive = apt.download(name, version, downloads)
        if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
            raise CommandFailed(f"{archive.name} is not the file in the signed package list")
        apt.unpack(archive, directory)
        shutil.rmtree(downloads)
        shutil.rmtree(directory / "usr/share/doc", ignore_errors=True)
    return package


def _write_index(store: Path, asked: str, package: Package) -> None:
    entry = {
        "name": package.name,
        "version": package.version,
        "arch": package.arch,
        "sha256": package.sha256,
        "root": package.root.name,
    }
    publish_file(store / f"{asked}.json", json.dumps(entry, indent=1).encode())


def _read_index(store: Path, asked: str) -> Package | None:
    try:
        entry = json.loads((store / f"{asked}.json").read_text())
        package = Package(
            name=entry["name"],
            version=entry["version"],
            arch=entry["arch"],
            sha256=entry["sha256"],
            root=store / entry["root"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        # no entry, or not one of ours: it is fetched again
        return None
    return package if package.root.is_dir() else None
