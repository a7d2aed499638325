"""What runs in the simulated host: takes a job from one disk and writes the result to another.

Started by the simulated host's init as ``python3 -m vmjitter.bench.inside DISK...``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from vmjitter.effects import process
from vmjitter.effects.clock import now_ns
from vmjitter.errors import VmjitterError
from vmjitter.session.progress import Progress
from vmjitter.sim.devices import make_disk
from vmjitter.sim.mirror import Mirror, receive
from vmjitter.sim.tape import END, MAGIC, PROGRESS, TICK, Record, TapeReader, TapeWriter

JOB_DIR: Final = Path("/job")
RUN_DIR: Final = Path("/work/run")

MEASURE: Final = "measure"
EXEC: Final = "exec"
SHELL: Final = "shell"
OUTPUT: Final = "output"
REQUEST_FILE: Final = "request.json"
_CONSOLE: Final = "/dev/ttyS0"


def main(job: Path, result: Path) -> None:
    """Do one job; whatever happens, the last record says how it ended."""
    with TapeReader(job) as reader, TapeWriter(result, direct=True) as tape:
        tape.write(Record(kind=TICK, head={"virtual_ns": now_ns()}))
        try:
            status, message = _do(_receive(reader), tape), {}
        except VmjitterError as error:
            status = error.exit_status
            message = {"message": error.message, "hint": error.hint, "evidence": error.evidence}
        except OSError as error:
            status, message = 1, {"message": f"in the simulated host: {error}"}
        except (KeyError, TypeError, ValueError) as error:
            status, message = 1, {"message": f"the job is not as vmjitter writes it: {error!r}"}
        tape.write(
            Record(
                kind=END,
                head={"status": status, "virtual_ns": now_ns()},
                payload=json.dumps(message).encode(),
            )
        )


def find_disks(disks: Sequence[Path]) -> tuple[Path, Path]:
    """The disks with the job and for the result, by how they begin.

    Raises:
        VmjitterError: one of them is missing.
    """
    begins = {}
    for disk in disks:
        with disk.open("rb") as stream:
            begins[stream.read(len(MAGIC))] = disk
    job, result = begins.get(MAGIC), begins.get(bytes(len(MAGIC)))
    if job is None or result is None:
        raise VmjitterError(f"no job or no place for the result among {list(map(str, disks))}")
    return job, result


def _receive(reader: TapeReader) -> Record:
    for record in reader.take():
        if record.kind != "file":
            return record
        receive(record, JOB_DIR, record.text("path"))
    raise VmjitterError("the job's disk holds no job")


def _do(request: Record, tape: TapeWriter) -> int:
    jobs: dict[str, Callable[[TapeWriter], int]] = {
        MEASURE: _measure,
        EXEC: _exec,
        SHELL: _shell,
    }
    return jobs[request.kind](tape)


def _exec(tape: TapeWriter) -> int:
    request = _request()

    def output(number: int, data: bytes) -> None:
        tape.write(Record(kind=OUTPUT, head={"fd": number}, payload=data))

    def tick() -> None:
        tape.write(Record(kind=TICK, head={"virtual_ns": now_ns()}))

    return process.stream([str(word) for word in request["argv"]], output, tick)


def _shell(_tape: TapeWriter) -> int:
    size = _request()
    rows, columns = str(size["rows"]), str(size["columns"])
    process.run(["stty", "-F", _CONSOLE, "rows", rows, "cols", columns])
    # The end of a session hangs up its terminal, which throws away what was not sent yet
    # (uart_hangup in drivers/tty/serial/serial_core.c); stty waits for that to be sent.
    session = "sh -l; status=$?; stty sane; exit $status"
    script = f"exec <{_CONSOLE} >{_CONSOLE} 2>&1; exec setsid -c sh -c '{session}'"
    return process.run(["sh", "-c", script]).status


def _measure(tape: TapeWriter) -> int:
    # Imported here: a shell or a command needs none of it, and it takes a while.
    from vmjitter.bench.handover import unpack_guest, unpack_surroundings  # noqa: PLC0415
    from vmjitter.bench.local import measure  # noqa: PLC0415
    from vmjitter.config.resolve import Choices, resolve  # noqa: PLC0415
    from vmjitter.config.sources import Value  # noqa: PLC0415

    request = _request()
    disk = make_disk(request["disk_bytes"], request["disk_latency_ns"], request["disk_depth"])
    # The rounds of a comparison are measured in a simulated host each.
    flags: dict[str, object] = {"disk.dir": str(disk), "bench.name": "local", "plan.rounds": 0}
    choices = Choices(
        flags={key: Value(raw, "simulated host") for key, raw in flags.items()},
        only=[request["only"]],
    )
    resolved = resolve(str(JOB_DIR / request["plan"]), choices)
    mirror = Mirror(RUN_DIR, tape)

    def report(progress: Progress) -> None:
        where = f"{progress.scenario} {progress.phase} {progress.recorded}"
        head = {"where": where, "virtual_ns": now_ns()}
        payload = json.dumps(dataclasses.asdict(progress)).encode()
        tape.write(Record(kind=PROGRESS, head=head, payload=payload))
        mirror.send()

    guest = unpack_guest(JOB_DIR, resolved.plan)
    try:
        measure(resolved, RUN_DIR, guest, unpack_surroundings(JOB_DIR), report)
    finally:
        mirror.finish()
    return 0


def _request() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((JOB_DIR / REQUEST_FILE).read_bytes())
    return content


if __name__ == "__main__":
    main(*find_disks([Path(disk) for disk in sys.argv[1:]]))
