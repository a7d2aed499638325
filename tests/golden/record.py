"""Record what other programs print; ``script/record-goldens`` starts this.

The tests compare exact numbers with the committed recordings, so a new recording never replaces
them: it goes to a directory of its own, to be compared by eye when a program has a new version.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmjitter.effects import process
from vmjitter.guest import cpio
from vmjitter.guest.apt import PrivateApt, busybox, fetch_package
from vmjitter.guest.cache import cache_root
from vmjitter.guest.tree import Tree, fetch_tree

_USAGE = """Record what rtla, jitterdebugger, cyclictest and oslat print, for tests/golden/.

rtla runs in a Debian kernel under QEMU without KVM, so its numbers mean nothing; the others run
here and need root.  Debian packages are fetched into vmjitter's cache, nothing is installed.
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A Debian release and what to record with its rtla.

    Attributes:
        kernel: the package with the kernel's file; "*" stands for the version.
        commands: arguments of rtla by the name of the recording.
    """

    suite: str
    kernel: str
    commands: dict[str, str]


_RELEASES = (
    Release(
        suite="bookworm",
        kernel="linux-image-*",
        commands={
            "hist-6.1": "timerlat hist -d 5s -E 40",
            "hist-6.1-nano": "timerlat hist -d 3s -n -b 100000 -E 60",
            "hist-6.1-sentinel": "timerlat hist -d 9s -E 20 -i 5",
            "top-6.1": "timerlat top -q -d 4s",
        },
    ),
    Release(
        suite="trixie",
        kernel="linux-image-*",
        commands={
            "hist-6.12-user": "timerlat hist -d 4s -E 30 -b 2 -u --dma-latency 0",
            "hist-6.12-no-summary": "timerlat hist -d 2s -E 20 -c 1 --no-irq --no-summary",
            "top-6.12-live": "timerlat top -d 3s -k",
            "top-6.12-analysis": "timerlat top -n -q -d 20s -a 2000",
        },
    ),
    Release(
        suite="sid",
        kernel="linux-binary-*",
        commands={
            "hist-7.2-user": "timerlat hist -d 4s -E 30 -b 2 -u --dma-latency 0",
            "hist-7.2-shell": "timerlat hist -d 10s -E 20 -T 3000"
            " --on-threshold shell,command='echo hit'",
            "hist-7.2-bare": "timerlat hist -d 2s -E 20 -k --with-zeros --no-header --no-index",
            "hist-7.2-no-header": "timerlat hist -d 2s -E 20 -k --no-header",
            "hist-7.2-no-index": "timerlat hist -d 2s -E 20 -k --with-zeros --no-index",
            "hist-7.2-nano": "timerlat hist -d 2s -E 20 -k -n -b 5000 -c 0 --no-thread",
            "top-7.2-newline": "timerlat top -n -q -d 20s -a 2000",
            "top-7.2-shell": "timerlat top -q -d 20s -k -T 1500"
            " --on-threshold shell,command='echo hit'",
        },
    ),
)

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /out
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
export PATH=/bin:/usr/bin HOME=/
cd /out
uname -rv >kernel
{commands}
cd /; stty -F /dev/ttyS1 raw; tar cf - out >/dev/ttyS1; sync; poweroff -f
"""


def main() -> None:
    """Record what the command line asks for."""
    parser = argparse.ArgumentParser(prog="script/record-goldens", description=_USAGE)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--output", type=Path, help="directory; a new temporary one if not given")
    parser.add_argument("program", nargs="*", help=f"of {', '.join(_RECORDERS)}; all if none")
    chosen = parser.parse_args()
    if unknown := set(chosen.program) - set(_RECORDERS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    output = chosen.output or Path(tempfile.mkdtemp(prefix="goldens-"))
    for name in chosen.program or _RECORDERS:
        place = output / name
        place.mkdir(parents=True, exist_ok=True)
        _RECORDERS[name](place)
        for file in sorted(place.iterdir()):
            print(f"{file}  {file.stat().st_size} bytes")  # noqa: T201


def record_rtla(place: Path) -> None:
    """Boot each release's real-time kernel with its own rtla."""
    for release in _RELEASES:
        tree = fetch_tree(["rtla"], suite=release.suite)
        with tempfile.TemporaryDirectory() as scratch:
            _boot(release, tree, Path(scratch))
            for file in (Path(scratch) / "out").glob("*-*.txt"):
                shutil.copy(file, place)
            kernel = (Path(scratch) / "out/kernel").read_text().strip()
        print(f"{release.suite}: rtla {tree.packages['rtla']}, kernel {kernel}")  # noqa: T201


def _boot(release: Release, tree: Tree, scratch: Path) -> None:
    commands = "\n".join(f"rtla {what} >{name}.txt" for name, what in release.commands.items())
    entries = [*_tree_entries(tree), cpio.character_device("dev/console", 5, 1)]
    entries.append(cpio.file("bin/busybox", busybox("x86_64").read_bytes(), mode=0o755))
    entries.append(cpio.file("init", _INIT.format(commands=commands).encode(), mode=0o755))
    (scratch / "initrd").write_bytes(gzip.compress(cpio.pack(entries), 1))
    machine = ["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1500", "-net", "none"]
    boot = ["-kernel", str(_kernel(release, scratch)), "-initrd", str(scratch / "initrd")]
    boot += ["-append", "console=ttyS0 panic=-1 quiet", "-display", "none", "-no-reboot"]
    serial = ["-serial", f"file:{scratch}/console", "-serial", f"file:{scratch}/out.tar"]
    process.check(["qemu-system-x86_64", *machine, *boot, *serial], timeout_s=600)
    process.check(["tar", "xf", str(scratch / "out.tar"), "-C", str(scratch)])


def _tree_entries(tree: Tree) -> Iterator[cpio.Entry]:
    """The tree's files in one ``usr``, however its release divides them."""
    known = set()
    for path in sorted(tree.root.rglob("*")):
        name = str(path.relative_to(tree.root))
        if name in {"bin", "sbin", "lib", "lib64"}:
            continue
        if name.startswith(("bin/", "sbin/", "lib/", "lib64/")):
            name = f"usr/{name}"
        if name in known or (path.is_dir() and not path.is_symlink()):
            continue
        known.add(name)
        if path.is_symlink():
            yield cpio.symlink(name, str(path.readlink()))
        else:
            yield cpio.file(name, path.read_bytes(), mode=0o755)
    yield cpio.symlink("lib", "usr/lib")
    yield cpio.symlink("lib64", "usr/lib64")
    loader = "usr/lib64/ld-linux-x86-64.so.2"
    if loader not in known:
        yield cpio.symlink(loader, "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")


def _kernel(release: Release, scratch: Path) -> Path:
    apt = PrivateApt(cache_root(), "x86_64", release.suite)
    apt.update()
    depends = apt.show("linux-image-rt-amd64")["Depends"].replace(",", " ").split()
    image = next(word for word in depends if word.startswith("linux-image-"))
    record = apt.show(image.replace("linux-image-", release.kernel.rstrip("*")))
    archive = apt.download(record["Package"], record["Version"], scratch)
    apt.unpack(archive, scratch / "kernel")
    return next((scratch / "kernel").rglob("vmlinuz*"))


def record_jitterdebugger(place: Path) -> None:
    """Two threads, one thread in nanoseconds, and a run that stood still for a while."""
    tree = fetch_tree(["jitterdebugger"])
    program = tree.argv("usr/bin/jitterdebugger")
    for name, options, stop_s in (
        ("0.3", "-l 400", 0.0),
        ("0.3-nano", "-l 200 -N -a 1", 0.0),
        ("0.3-stopped", "-l 300", 0.012),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out"
            _run([*program, *options.split(), "-o", str(out), "-s"], stop_s)
            for file in ("results.json", "samples.raw"):
                shutil.copy(out / file, place / f"{name}-{file}")
            if name == "0.3":
                (place / "0.3-samples.csv").write_text(_decoded(tree, out))


def _decoded(tree: Tree, out: Path) -> str:
    """The first samples as jittersamples prints them; it needs no library but libc."""
    utils = fetch_package("jitterdebugger-utils", "x86_64").root
    argv = [*tree.argv("")[:-1], str(utils / "usr/bin/jittersamples"), str(out)]
    process.check(argv)
    return "".join((out / "samples.csv").read_text().splitlines(keepends=True)[:200])


def _run(argv: Sequence[str], stop_s: float) -> None:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet) as running:
        time.sleep(0.15)
        if stop_s:  # a stopped process is late without disturbing anybody else
            running.send_signal(signal.SIGSTOP)
            time.sleep(stop_s)
            running.send_signal(signal.SIGCONT)


_RT_TESTS = {"2.4": "bookworm", "2.6": "trixie", "2.10": "sid"}
_CYCLICTEST = "-m -p 90 -i 1000 -t 2 -a"
_CYCLICTEST_RUNS = {
    "histogram": f"{_CYCLICTEST} -q -l 500 -h 60 --json=JSON",
    "histofall": f"{_CYCLICTEST} -q -l 500 -H 60",
    "nano": f"{_CYCLICTEST} -q -l 300 -N --json=JSON",
    "running": f"{_CYCLICTEST} -l 60",
    "verbose": f"{_CYCLICTEST} -v -l 80",
    "reduced": f"{_CYCLICTEST} -v -o 5 -l 80",
    "break": "-q -m -p 90 -i 500 -l 4000 -b 200",
    "spike": "-q -m -p 90 -i 500 -l 300 --spike=40",
    "stopped": "-q -m -p 90 -i 500 -D 1 -h 60 -t 2 --json=JSON",
    "quoted": """-q -l 20 -h 60 --histfile=a"b --json=JSON""",
    "early": "-q -i 100000 -h 10 -D 1 --json=JSON",
}
_OSLAT_RUNS = {
    "plain": "-D 1 -c 0 -C 1 --json=JSON",
    "nano": "-D 1 -c 0 -C 1 -W 500 -b 8 -z --json=JSON",
    "bias": "-D 1 -c 0,1 -C 1 -B -b 8 -w memmove -m 64K --json=JSON",
}
_OTHER_RUNS = {
    "signaltest": "-l 50 -p 80 -t 2 --json=JSON",
    "ptsematest": "-l 50 -i 1000 -p 80 -t --json=JSON",
    "rt-migrate-test": "-l 3 --json=JSON",
    "ssdd": "-i 20 -f 1 --json=JSON",
}
_KERNEL = re.compile(r'("(?:nodename|release|version)": ")[^"]*')


def record_cyclictest(place: Path) -> None:
    """Every form of its output, and the JSON of its neighbours in rt-tests; needs root."""
    for version, suite in _RT_TESTS.items():
        for name, options in _CYCLICTEST_RUNS.items():
            stop_s = 0.03 if name == "stopped" else 0.0
            end_s = 0.05 if name == "early" else 0.0
            _rt_test(place / f"{version}-{name}", suite, "cyclictest", options, stop_s, end_s)
    for name, options in _OTHER_RUNS.items():
        _rt_test(place / f"2.10-{name}", "sid", name, options)
        (place / f"2.10-{name}.txt").unlink()


def record_oslat(place: Path) -> None:
    """Text and JSON of the same run; needs root and two CPUs."""
    for version, suite in _RT_TESTS.items():
        for name, options in _OSLAT_RUNS.items():
            if (version, name) != ("2.4", "nano"):  # it has no -W
                _rt_test(place / f"{version}-{name}", suite, "oslat", options)


def _rt_test(
    place: Path, suite: str, program: str, options: str, stop_s: float = 0.0, end_s: float = 0.0
) -> None:
    """Record one run: ``place`` gets the ending .txt, and its JSON .json.

    Args:
        stop_s: so long it stands still, which makes its threads late and leaves out periods.
        end_s: it is ended after this time.
    """
    tree = fetch_tree(["rt-tests"], suite=suite)
    with tempfile.TemporaryDirectory() as scratch:
        json = Path(scratch) / "result.json"
        argv = [*tree.argv(f"usr/bin/{program}"), *options.replace("JSON", json.name).split()]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=scratch
        ) as running:
            if stop_s or end_s:
                time.sleep(end_s or 0.2)
                running.send_signal(signal.SIGSTOP if stop_s else signal.SIGINT)
                time.sleep(stop_s)
                running.send_signal(signal.SIGCONT)
            text, _ = running.communicate(timeout=60)
        place.with_name(f"{place.name}.txt").write_text(text)
        if json.exists():
            # the machine's names and the cache's place are nobody's business
            clean = _KERNEL.sub(r"\1-", json.read_text()).replace(str(tree.root), "")
            place.with_name(f"{place.name}.json").write_text(clean)


_RECORDERS: dict[str, Callable[[Path], None]] = {
    "rtla": record_rtla,
    "jitterdebugger": record_jitterdebugger,
    "cyclictest": record_cyclictest,
    "oslat": record_oslat,
}

if __name__ == "__main__":
    main()
