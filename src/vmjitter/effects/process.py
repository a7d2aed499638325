"""The only place that starts processes.

Every child dies with vmjitter, also when vmjitter is killed: it is started under
``setpriv --pdeathsig KILL`` (prctl(2), PR_SET_PDEATHSIG).  The signal is tied to the thread that
forked, so processes are started from the main thread.  A child is in a session of its own, so
that Ctrl-C reaches vmjitter alone, which then ends its children in order.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from vmjitter.errors import CommandFailed, MissingCapability


def split_cpus(count: int) -> tuple[frozenset[int], frozenset[int]]:
    """Divide the CPUs that we may use: the last ``count``, and the others.

    With a count of 0, or one that leaves none over, both are all of them.
    """
    usable = os.sched_getaffinity(0)
    last = frozenset(sorted(usable)[-count:]) if 0 < count < len(usable) else frozenset(usable)
    return last, frozenset(usable - last) or last


def on_cpus(cpus: Collection[int]) -> tuple[str, ...]:
    """What stands before a command line to keep a program and all its threads on some CPUs.

    Raises:
        MissingCapability: taskset is not installed.
    """
    if not cpus:
        return ()
    taskset = find_program("taskset", hint="install util-linux")
    return (taskset, "--cpu-list", ",".join(map(str, sorted(cpus))))


@contextmanager
def out_of_the_way(cpus: frozenset[int]) -> Iterator[None]:
    """Run on some CPUs only, and at the lowest priority of all, SCHED_IDLE (sched(7)).

    For work of ours beside a measurement.  The priority alone is not enough: even so, a CPU that is
    shared with a busy program is ours for up to a tick now and then.  A program started meanwhile
    would inherit both.
    """
    before = os.sched_getscheduler(0)
    parameters = os.sched_getparam(0)
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setaffinity(0, affinity)
        # refused to users without rights before Linux 2.6.39 only
        with suppress(PermissionError):
            os.sched_setscheduler(0, before, parameters)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that has ended: its exit status and everything it wrote."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def find_program(name: str, *, hint: str) -> str:
    """Return the path of a program, also from the system's sbin directories.

    Raises:
        MissingCapability: it is not installed; the hint says how to get it.
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingCapability(f"the program {name!r} is not installed", hint=hint)
    return found


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
    stdin: str | None = None,
) -> Completed:
    """Run a program to its end and return what it wrote, whatever its exit status.

    Raises:
        CommandFailed: it could not be started, or took longer than ``timeout_s``.
    """
    try:
        done = subprocess.run(
            [*_dies_with_us(), *argv],
            env=dict(env) if env is not None else None,
            cwd=cwd,
            timeout=timeout_s,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"no end after {timeout_s} s: {shlex.join(argv)}") from error
    except OSError as error:
        raise CommandFailed(f"cannot start {argv[0]}: {error.strerror}") from error
    return Completed(
        argv=tuple(argv), status=done.returncode, stdout=done.stdout, stderr=done.stderr
    )


def check(argv: Sequence[str], **options: object) -> Completed:
    """Like `run`, but a failure of the program is an error.

    Raises:
        CommandFailed: as `run`, or the exit status is not 0; carries the program's output.
    """
    done = run(argv, **options)  # type: ignore[arg-type]
    if done.status != 0:
        raise CommandFailed(
            f"{Path(argv[0]).name} failed with status {done.status}: {shlex.join(argv)}",
            evidence=(done.stderr or done.stdout).strip(),
        )
    return done


def stream(
    argv: Sequence[str],
    output: Callable[[int, bytes], None],
    tick: Callable[[], None],
    *,
    tick_s: float = 1.0,
) -> int:
    """Run a program to its end and pass on what it writes while it writes it.

    Args:
        argv: program and arguments.
        output: gets 1 or 2, for standard output or standard error, and bytes.
        tick: called at least every ``tick_s`` seconds.
        tick_s: see there.

    Returns:
        Its exit status as a shell would give it: 128 + N if signal N ended it.

    Raises:
        CommandFailed: it could not be started.
    """
    try:
        running = subprocess.Popen(
            [*_dies_with_us(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise CommandFailed(f"cannot start {argv[0]}: {error.strerror}") from error
    with running, _killed_on_error(running), selectors.DefaultSelector() as selector:
        for number, pipe in ((1, running.stdout), (2, running.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select(tick_s):
                if data := os.read(key.fd, 1 << 16):
                    output(key.data, data)
                else:
                    selector.unregister(key.fileobj)
            tick()
        while not _ends_within(running, tick_s):
            tick()
    return running.returncode if running.returncode >= 0 else 128 - running.returncode


@contextmanager
def _killed_on_error(running: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        running.kill()
        raise


def _ends_within(running: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        running.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


class Child:
    """A program that runs beside us, ended by `close` at the latest.

    Args:
        argv: program and arguments.
        log: file that gets its output; it is appended to.
        pass_fds: descriptors it inherits under the same numbers.
        env: its whole environment; None means ours.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        self._pidfd = -1
        command = [*_dies_with_us(), *argv]
        self._log: IO[bytes] = log.open("ab")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                env=dict(env) if env is not None else None,
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            raise CommandFailed(f"cannot start {argv[0]}: {error.strerror}") from error
        except BaseException:
            self._log.close()
            raise
        self._pidfd = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def fileno(self) -> int:
        """A process descriptor, readable for `select` once the program has ended."""
        return self._pidfd

    def cpu_ns(self) -> int:
        """CPU time that it has used by now, all threads, to 10 ms; 0 once it is gone."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return 0
        fields = stat.rpartition(")")[2].split()
        # utime and stime, proc(5); the first field behind the name is number 3
        return (int(fields[11]) + int(fields[12])) * 10**9 // os.sysconf("SC_CLK_TCK")

    def status(self) -> int | None:
        """Exit status, negative signal number, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None if it still runs after ``timeout_s``."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended already."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once: SIGKILL."""
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        """End it: SIGTERM, and after two seconds SIGKILL.  Safe to call twice."""
        if self._pidfd < 0:
            return
        if self.status() is None:
            self._process.terminate()
            if self.wait(2.0) is None:
                self._process.kill()
                self._process.wait()
        os.close(self._pidfd)
        self._pidfd = -1
        self._log.close()

    def output_tail(self, lines: int = 15) -> str:
        """The last lines of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _dies_with_us() -> list[str]:
    """Prefix of every command line: the program gets SIGKILL when we die.

    We may die between fork and prctl(2), which then waits for a death that is past.  So a shell
    compares its parent with us once the signal is set, and gives up if that is somebody else.
    """
    setpriv = find_program("setpriv", hint="install util-linux")
    guard = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
    shell = ["/bin/sh", "-c", guard, "vmjitter-guard", str(os.getpid())]
    return [setpriv, "--pdeathsig", "KILL", "--", *shell]
