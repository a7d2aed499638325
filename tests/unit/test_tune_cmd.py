"""The verb `tune`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fakes.fake_qemu import NAMES, fake_qemu
from unit.test_knobs import build
from vmjitter.cli import tune_cmd
from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import read_cpus, read_policy, threads
from vmjitter.errors import DataError, UsageError
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.recipes import builtin_recipes

KSM = "sys/kernel/mm/ksm/run"
VMSTAT = "proc/sys/vm/stat_interval"
PROGRAM = """
import signal, sys
from pathlib import Path
import typer
from vmjitter.cli import tune_cmd
from vmjitter.effects.systree import SysTree
tune_cmd._tree = lambda: SysTree(root=Path(sys.argv.pop(1)).absolute())
tree = tune_cmd._tree()
tune_cmd._tree = lambda: tree
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, interrupt)
app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
tune_cmd.register(app)
app()
"""
"""The verb in a process of its own, on a built machine."""

Tune = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has everything."""
    root = tmp_path / "root"
    root.mkdir()
    build(root)
    monkeypatch.setattr(tune_cmd, "_tree", lambda: SysTree(root=root))
    monkeypatch.setenv("VMJITTER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    return root


@pytest.fixture
def tune(root: Path) -> Tune:
    """Runs the verb; gives status, standard output and standard error."""
    assert root.is_dir()
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    tune_cmd.register(app)

    def tune(*words: str) -> Any:  # noqa: ANN401 - click's result
        done = CliRunner().invoke(app, ["tune", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return tune


def journal() -> Journal:
    return Journal(Path(os.environ["VMJITTER_STATE_DIR"]))


def test_show_lists_every_knob_and_every_recipe(tune: Tune) -> None:
    done = tune("show", "--cpus", "2-3")
    first = {line.split()[0] for line in done.stdout.splitlines() if line and line[0] != " "}
    assert {*KNOBS, *builtin_recipes()} <= first
    assert "always" not in done.stdout, "the chosen one of several only"
    assert not journal().path.parent.exists(), "to look changes nothing"


def test_show_as_json_has_all_that_is_known(tune: Tune) -> None:
    shown = json.loads(tune("show", "--json", "--cpus", "2-3").stdout)
    assert shown["format"] == 1
    by_name = {one["name"]: one for one in shown["knobs"]}
    assert list(by_name) == list(KNOBS)
    assert by_name["thp-never"]["now"] == "madvise"
    assert by_name["thp-never"]["wanted"] == "never"
    assert by_name["cpu-pm"]["needs"] == "qemu"
    assert "-overcommit cpu-pm=on" in by_name["cpu-pm"]["how"]
    assert by_name["vcpu-fifo"]["real_time"] is True
    assert by_name["irqs-elsewhere"]["places"] == 2
    assert [one["name"] for one in shown["recipes"]] == list(builtin_recipes())


def test_show_one_tells_everything_about_it(tune: Tune) -> None:
    text = tune("show", "nx-huge-pages-off").stdout
    knob = KNOBS["nx-huge-pages-off"]
    for part in (knob.effect, knob.risk, knob.worth, knob.undo):
        assert part in text


def test_show_a_recipe_shows_its_knobs_in_order(tune: Tune) -> None:
    shown = json.loads(tune("show", "seapath", "--json").stdout)
    [recipe] = shown["recipes"]
    assert [one["name"] for one in shown["knobs"]] == recipe["knobs"]
    assert "SEAPATH" in tune("show", "seapath").stdout


def test_show_says_why_not(tune: Tune, root: Path) -> None:
    (root / KSM).unlink()
    assert "built without CONFIG_KSM" in tune("show", "ksm-off").stdout


@pytest.mark.parametrize(
    ("name", "hint"), [("ksm-of", "'ksm-off'"), ("seapth", "'seapath'"), ("zzzzz", "tune show")]
)
def test_an_unknown_name_names_the_nearest(tune: Tune, name: str, hint: str) -> None:
    for verb in ("show", "apply"):
        with pytest.raises(UsageError, match=f"no knob and no recipe '{name}'") as caught:
            tune(verb, name)
        assert hint in caught.value.hint


def test_apply_and_revert(tune: Tune, root: Path) -> None:
    done = tune("apply", "ksm-off", "vmstat-rare")
    assert done.exit_code == 0
    assert "ksm-off: /sys/kernel/mm/ksm/run: 7 -> 2" in done.stdout
    assert "vmjitter tune revert" in done.stderr
    assert ((root / KSM).read_text(), (root / VMSTAT).read_text()) == ("2", "10")
    assert "ksm-off *" in tune("show", "ksm-off", "thp-never").stdout
    rehearsal = tune("revert", "--dry-run")
    assert "ksm-off: /sys/kernel/mm/ksm/run: would be restored, 7" in rehearsal.stdout
    assert (root / KSM).read_text() == "2"
    (root / VMSTAT).write_text("99")
    done = tune("revert")
    assert done.exit_code == 0
    assert "ksm-off: /sys/kernel/mm/ksm/run: restored, 7" in done.stdout
    assert "left alone: changed by somebody else since, is 99, was 7 before" in done.stdout
    assert ((root / KSM).read_text(), (root / VMSTAT).read_text()) == ("7", "99")
    assert tune("revert").stdout == "nothing to put back\n"


def test_a_rehearsal_changes_nothing(tune: Tune, root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    done = tune("apply", "tuned-rt", "--cpus", "2-3", "--dry-run")
    assert done.exit_code == 0
    assert "irqs-elsewhere: /proc/irq/0/smp_affinity_list = 0-1" in done.stdout
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert not journal().path.parent.exists()


def test_what_needs_a_restart_is_said_plainly(tune: Tune, root: Path) -> None:
    done = tune("apply", "cpu-pm", "guest-idle-poll", "pm-qos", "vcpu-pin", "pause-loop-exits-off")
    assert "cpu-pm: QEMU must be started again; qemu -overcommit cpu-pm=on" in done.stdout
    assert "the guest's kernel command line idle=poll" in done.stdout
    assert "pm-qos: lasts only as long as somebody holds it" in done.stdout
    assert "vcpu-pin: the guest has no CPU of its own" in done.stdout
    assert "pause-loop-exits-off: the module must be loaded again" in done.stdout
    drop_in = root / "etc/modprobe.d/vmjitter-pause-loop-exits-off.conf"
    assert drop_in.read_text() == "options kvm_intel ple_gap=0\n"
    tune("revert")
    assert not drop_in.exists()


def test_when_nothing_could_be_done_the_status_says_so(tune: Tune) -> None:
    assert tune("apply", "cpu-pm").exit_code == 1
    assert tune("apply", "pm-qos").exit_code == 1
    assert tune("apply", "vcpu-pin", "--cpus", "2").stdout == (
        "vcpu-pin: is about a running QEMU: name it with --vm PID\n"
    )


def test_what_is_so_already_is_success(tune: Tune, root: Path) -> None:
    (root / KSM).write_text("2\n")
    done = tune("apply", "ksm-off")
    assert (done.exit_code, "(as before)" in done.stdout) == (0, True)
    assert tune("revert").stdout == "nothing to put back\n"


def test_no_name_is_an_error(tune: Tune) -> None:
    with pytest.raises(UsageError, match="no knob is named"):
        tune("apply")


def test_a_recipe_goes_as_far_as_it_can(tune: Tune, root: Path) -> None:
    (root / VMSTAT).unlink()
    done = tune("apply", "tuned-rt", "--cpus", "2-3")
    assert done.exit_code == 0
    assert "vmstat-rare: /proc/sys/vm/stat_interval does not exist" in done.stdout
    assert (root / KSM).read_text() == "2"
    tune("revert")
    assert (root / KSM).read_text() == "7"


ONE_VCPU = [name for name in NAMES if name != "CPU 1/KVM"]


@pytest.fixture
def qemu() -> Iterator[int]:
    with fake_qemu(ONE_VCPU) as pid:
        yield pid


def cpus_of(pid: int) -> dict[str, str]:
    return {one.name: read_cpus(one.tid) for one in threads(pid)}


def test_threads_of_a_running_qemu(tune: Tune, root: Path, qemu: int) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    (root / "sys/devices/system/cpu/online").write_text(f"{cpus[0]},{cpus[1]}\n")
    before = cpus_of(qemu)
    done = tune("apply", "emulator-pin", "vcpu-pin", "--cpus", str(cpus[1]), "--vm", str(qemu))
    assert done.exit_code == 0
    after = cpus_of(qemu)
    assert after.pop("CPU 0/KVM") == str(cpus[1])
    assert set(after.values()) == {str(cpus[0])}
    shown = json.loads(
        tune("show", "vcpu-pin", "--json", "--cpus", str(cpus[1]), "--vm", str(qemu)).stdout
    )
    assert shown["knobs"][0]["set_by_vmjitter"] is True
    tune("revert")
    assert cpus_of(qemu) == before


def test_threads_that_ended_are_gone(tune: Tune, root: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    (root / "sys/devices/system/cpu/online").write_text(f"{cpus[0]},{cpus[1]}\n")
    with fake_qemu(ONE_VCPU) as pid:
        assert tune("apply", "vcpu-pin", "--cpus", str(cpus[1]), "--vm", str(pid)).exit_code == 0
    done = tune("revert")
    assert done.exit_code == 0
    assert done.stdout.count(": gone") == 1


def test_more_virtual_cpus_than_cpus_are_not_pinned(tune: Tune, root: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    (root / "sys/devices/system/cpu/online").write_text(f"{cpus[0]},{cpus[1]}\n")
    with fake_qemu() as pid:
        before = cpus_of(pid)
        done = tune("apply", "vcpu-pin", "--cpus", str(cpus[1]), "--vm", str(pid))
        assert done.exit_code == 1
        assert f"the guest has 2 virtual CPUs, and only CPU {cpus[1]} for them" in done.stdout
        assert cpus_of(pid) == before


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for real-time: run as root")
def test_priorities_come_under_a_watchdog(
    tune: Tune, root: Path, qemu: int, tmp_path: Path
) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    (root / "sys/devices/system/cpu/online").write_text(f"{cpus[0]},{cpus[1]}\n")
    words = ("--cpus", str(cpus[1]), "--vm", str(qemu))
    done = tune("apply", "emulator-pin", "vcpu-pin", "vcpu-fifo", *words)
    assert done.exit_code == 0
    [warning] = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "nobody watches over them from now on" in warning
    assert "--hold keeps the watchdog until Ctrl-C; leave throttling on" in warning
    policies = {one.name: read_policy(one.tid) for one in threads(qemu)}
    assert policies["CPU 0/KVM"] == "fifo 1"
    assert policies["worker"] == "other"
    assert (tmp_path / "state/watchdog.log").read_text() == "", "it had nothing to do"
    tune("revert")
    assert {read_policy(one.tid) for one in threads(qemu)} == {"other"}
    knobs = ("emulator-pin", "vcpu-pin", "vcpu-fifo", "rt-throttling-off")
    told = json.loads(tune("apply", *knobs, "--json", *words).stdout)
    assert told["warnings"][0].startswith("real-time priorities stay, and nobody watches over")
    assert "sysctl kernel.sched_rt_runtime_us=950000" in told["warnings"][0]
    assert {one["knob"] for one in told["changes"]} == set(knobs)
    tune("revert")


def test_what_was_done_as_json(tune: Tune, root: Path) -> None:
    words = ("apply", "ksm-off", "pm-qos", "rt-throttling-off", "--json")
    rehearsal = json.loads(tune(*words, "--dry-run").stdout)
    assert rehearsal["dry_run"] is True
    assert rehearsal["changes"][0] == {
        "knob": "ksm-off", "target": f"/{KSM}", "wanted": "2",
    }  # fmt: skip
    assert (root / KSM).read_text() == "7\n"
    told = json.loads(tune(*words).stdout)
    assert (told["format"], told["dry_run"]) == (1, False)
    first, second = told["changes"]
    assert (first["before"], first["wanted"], first["read_back"]) == ("7", "2", "2")
    assert second["knob"] == "rt-throttling-off"
    assert [one["knob"] for one in told["notes"]] == ["pm-qos"]
    [warning] = told["warnings"]
    assert warning.startswith("throttling of real-time threads is off")
    tune("revert")
    assert json.loads(tune("apply", "ksm-off", "--json").stdout)["warnings"] == []


def test_a_priority_that_would_starve_qemu_is_refused(tune: Tune, root: Path, qemu: int) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or os.geteuid() != 0:
        pytest.skip("needs two CPUs, and root for real-time")
    (root / "sys/devices/system/cpu/online").write_text(f"{cpus[0]},{cpus[1]}\n")
    for one in threads(qemu):
        os.sched_setaffinity(one.tid, {cpus[1]})
    done = tune("apply", "vcpu-fifo", "--cpus", str(cpus[1]), "--vm", str(qemu))
    assert done.exit_code == 1
    assert "put emulator-pin and vcpu-pin before it" in done.stdout
    assert {read_policy(one.tid) for one in threads(qemu)} == {"other"}


@contextmanager
def holding(root: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`tune apply --hold` in a process of its own, once it holds."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), "tune", "apply", *words, "--hold"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None
        lines = iter(child.stderr.readline, "")
        assert any("holding" in line for line in lines), "it ended before"
        yield child
    finally:
        child.kill()
        child.communicate()


def files_of(pid: int) -> list[str]:
    return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]


def outcomes_of(done: Any) -> dict[str, str]:  # noqa: ANN401 - click's result
    return {one["knob"]: one["outcome"] for one in json.loads(done.stdout)["changes"]}


def test_what_a_live_owner_holds_is_left_alone_until_forced_or_told_to_end(
    tune: Tune, root: Path
) -> None:
    with holding(root, "ksm-off", "vmstat-rare", "pm-qos") as child:
        assert (root / KSM).read_text() == "2"
        assert any(path.endswith("cpu_dma_latency") for path in files_of(child.pid))
        kept = tune("revert")
        assert kept.exit_code == 1
        assert f"kept: the vmjitter that set it still runs (process {child.pid})" in kept.stdout
        assert (root / KSM).read_text() == "2"
        forced = tune("revert", "--force", "--json")
        assert outcomes_of(forced) == {
            "ksm-off": "restored",
            "vmstat-rare": "restored",
            "pm-qos": "kept",  # nobody else can let go of a descriptor
        }
        assert (root / KSM).read_text() == "7"
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
        assert (child.returncode, out.count("restored")) == (0, 1), "pm-qos, by its holder"


def test_a_killed_owner_leaves_nothing_behind_that_cannot_be_put_back(
    tune: Tune, root: Path
) -> None:
    with holding(root, "ksm-off", "pm-qos") as child:
        child.kill()
        child.wait()
        done = tune("revert", "--json")
    assert done.exit_code == 0
    assert outcomes_of(done) == {"ksm-off": "restored", "pm-qos": "unchanged"}
    assert (root / KSM).read_text() == "7"


def test_after_a_restart_only_files_on_disk_are_put_back(tune: Tune, root: Path) -> None:
    tune("apply", "ksm-off", "pause-loop-exits-off")
    text = journal().path.read_text()
    boot = json.loads(text.splitlines()[0])["boot"]
    journal().path.write_text(text.replace(boot, "an earlier one"))
    done = tune("revert")
    assert "ksm-off: /sys/kernel/mm/ksm/run: gone with the restart" in done.stdout
    assert "vmjitter-pause-loop-exits-off.conf: restored, absent" in done.stdout
    assert list((root / "etc/modprobe.d").iterdir()) == []


def test_a_broken_journal_is_one_clear_error(tune: Tune) -> None:
    journal().path.parent.mkdir()
    journal().path.write_text("nonsense\n")
    for words in (["revert"], ["show"], ["apply", "ksm-off"]):
        with pytest.raises(DataError, match="line 1"):
            tune(*words)


@pytest.mark.parametrize("verb", ["show", "apply", "revert"])
def test_help_ends_with_worked_examples(tune: Tune, verb: str) -> None:
    text = tune(verb, "--help").stdout
    assert "--help" in text
    if verb != "revert":
        assert f"vmjitter tune {verb}" in text
