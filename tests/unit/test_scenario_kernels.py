"""Guests' kernels that differ between the scenarios of one plan: setting, knobs, images, facts."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.exportmaker import judged, trial_of
from fakes.pairmaker import group, paired_run, turns
from vmjitter.config.resolve import Choices, Resolved, resolve
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.guest.image import GuestImage, native_program
from vmjitter.guest.kernels import KERNELS, KernelFiles, flavour_of
from vmjitter.model.judge import Target
from vmjitter.model.plan import Accel, Plan
from vmjitter.qemu.cmdline import Machine
from vmjitter.report.comparable import compare_groups
from vmjitter.session import prepare
from vmjitter.tuning.byhand import how
from vmjitter.tuning.knob import Host
from vmjitter.tuning.knobs import KNOBS

PLAIN = Target(deadline_ns=None)
TWO = """
[guest]
kernel = "debian-rt-i386"
[scenario.default]
[scenario.own]
kernel = "debian-amd64"
[scenario.bare]
where = "host"
"""
ABLATION = """
[guest]
kernel = "debian-i386"
[ablation]
base = "any"
[ablation.mitigations]
rt = ["guest-kernel-rt"]
virtio = ["virtio-disk"]
[scenario.any]
disk = "ide"
loads = ["disk-rw"]
"""


def resolved(place: Path, text: str, *assignments: str, **environ: str) -> Resolved:
    path = place / "mine.toml"
    path.write_text(text)
    return resolve(str(path), Choices(assignments=assignments, environ=environ))


def kernels(plan: Plan) -> dict[str, str]:
    return {scenario.name: scenario.kernel for scenario in plan.scenarios}


# -- the setting ---------------------------------------------------------------------------------


def test_a_scenario_has_the_plans_kernel_unless_it_names_another(tmp_path: Path) -> None:
    expected = {"default": "debian-rt-i386", "own": "debian-amd64", "bare": ""}
    assert kernels(resolved(tmp_path, TWO).plan) == expected
    changed = resolved(tmp_path, TWO, "guest.kernel=debian-i386").plan
    assert kernels(changed) == {**expected, "default": "debian-i386"}


@pytest.mark.parametrize("by", ["--set", "variable"])
def test_it_is_chosen_from_outside_and_its_origin_is_in_the_plan(tmp_path: Path, by: str) -> None:
    key, variable = "scenario.default.kernel", "VMJITTER_SCENARIO_DEFAULT_KERNEL"
    if by == "--set":
        found, source = resolved(tmp_path, TWO, f"{key}=debian-i386"), f"--set {key}"
    else:
        found, source = resolved(tmp_path, TWO, **{variable: "debian-i386"}), variable
    assert found.plan.scenarios[0].kernel == "debian-i386"
    assert f'kernel = "debian-i386"  # {source}\n' in found.toml
    assert 'kernel = "debian-amd64"  # mine.toml:6\n' in found.toml
    again = tmp_path / "again.toml"
    again.write_text(found.toml)
    assert kernels(resolve(str(again), Choices()).plan) == kernels(found.plan)


def test_a_file_is_every_guests_kernel_but_of_those_that_name_another(tmp_path: Path) -> None:
    plan = resolved(tmp_path, TWO, "guest.kernel_file=/boot/mine").plan
    assert kernels(plan) == {"default": "", "own": "debian-amd64", "bare": ""}


@pytest.mark.parametrize("key", ["guest.kernel", "scenario.own.kernel"])
def test_a_kernel_that_does_not_exist_is_refused_with_place_and_the_nearest(
    tmp_path: Path, key: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, TWO, f"{key}=debian-i368")
    assert caught.value.message == (f"--set {key}: {key}: there is no guest kernel 'debian-i368'")
    assert "did you mean 'debian-i386'?" in caught.value.hint


def test_without_a_guest_there_is_no_kernel_to_choose(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scenario\.bare\.kernel: there is no guest") as caught:
        resolved(tmp_path, TWO, "scenario.bare.kernel=debian-i386")
    assert 'where = "guest"' in caught.value.hint


# -- the knobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_flavours_keep_the_architecture(name: str) -> None:
    for real_time in (True, False):
        other = KERNELS[flavour_of(name, real_time=real_time)]
        assert (other.arch, other.real_time) == (KERNELS[name].arch, real_time)
        assert ("rt" in other.package.split("-")) is real_time
        assert flavour_of(other.name, real_time=real_time) == other.name


@pytest.mark.parametrize(
    ("kernel", "rt", "stock"),
    [
        ("debian-i386", "debian-rt-i386", "debian-i386"),
        ("debian-rt-i386", "debian-rt-i386", "debian-i386"),
        ("debian-rt-amd64", "debian-rt-amd64", "debian-amd64"),
        ("debian-cloud-amd64", "debian-rt-amd64", "debian-cloud-amd64"),
    ],
)
def test_a_knob_changes_the_flavour(tmp_path: Path, kernel: str, rt: str, stock: str) -> None:
    for knob, wanted in (("guest-kernel-rt", rt), ("guest-kernel-stock", stock)):
        settings = (f"scenario.own.kernel={kernel}", f"scenario.own.knobs={knob}")
        assert kernels(resolved(tmp_path, TWO, *settings).plan)["own"] == wanted


@pytest.mark.parametrize("knob", ["guest-kernel-rt", "guest-kernel-stock"])
def test_of_a_file_no_other_flavour_is_known(tmp_path: Path, knob: str) -> None:
    settings = ("guest.kernel_file=/boot/mine", f"scenario.default.knobs={knob}")
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, TWO, *settings)
    assert caught.value.message == (
        f"scenario.default.knobs: {knob}: no other flavour is known of a kernel that is a file"
    )
    assert "vmjitter guest list" in caught.value.hint
    named = resolved(tmp_path, TWO, "guest.kernel_file=/boot/mine", f"scenario.own.knobs={knob}")
    assert kernels(named.plan)["own"] in {"debian-amd64", "debian-rt-amd64"}


def test_an_ablation_takes_the_guests_kernel_as_a_mitigation(tmp_path: Path) -> None:
    plan = resolved(tmp_path, ABLATION).plan
    assert {"rt" in scenario.mitigations: scenario.kernel for scenario in plan.scenarios} == {
        True: "debian-rt-i386",
        False: "debian-i386",
    }
    assert len(plan.scenarios) == 4


def test_where_vmjitter_does_not_boot_the_guest_the_packages_are_named() -> None:
    host = Host(guest_cpus=frozenset({1}), other_cpus=frozenset({0}))
    words = how(KNOBS["guest-kernel-rt"], host)
    assert words.startswith("the guest must be started again; in the guest, Debian's ")
    assert words.endswith("linux-image-rt-686-pae or linux-image-rt-amd64")
    assert "Debian's" not in how(KNOBS["virtio-disk"], host)


# -- images, accelerator and facts ---------------------------------------------------------------


def files_of(place: Path, name: str) -> KernelFiles:
    """A kernel with everything built in."""
    vmlinuz = place / name
    vmlinuz.write_bytes(name.encode())
    source = KERNELS[name]
    return KernelFiles(
        name=name,
        vmlinuz=vmlinuz,
        modules=None,
        release=f"6.1-{name}",
        arch=source.arch,
        package=source.package,
        package_version="1",
        sha256=name.ljust(64, "0"),
    )


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were looked for, which are empty files here."""
    asked: list[str] = []

    def fetch(name: str) -> KernelFiles:
        asked.append(name)
        return files_of(tmp_path, name)

    monkeypatch.setenv("VMJITTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepare, "fetch_kernel", fetch)
    (tmp_path / "busybox").write_bytes(b"busybox")
    return asked


def made(place: Path, said: list[str], text: str = TWO) -> tuple[Plan, dict[str, GuestImage]]:
    plan = resolved(place, text, f"guest.busybox={place / 'busybox'}").plan
    return plan, prepare.guest_images(plan, said.append)


def test_each_kernel_is_prepared_once_and_named(tmp_path: Path, fetched: list[str]) -> None:
    said: list[str] = []
    _, images = made(tmp_path, said, f'{TWO}[scenario.third]\nkernel = "debian-amd64"\n')
    assert fetched == ["debian-rt-i386", "debian-amd64"]
    assert said == ["guest kernel debian-rt-i386", "guest kernel debian-amd64", "guest images"]
    assert {name: image.kernel.name for name, image in images.items()} == {
        "default": "debian-rt-i386",
        "own": "debian-amd64",
        "third": "debian-amd64",
    }
    assert images["own"] == images["third"]


@pytest.mark.usefixtures("fetched")
def test_each_image_has_the_programs_of_its_architecture(tmp_path: Path) -> None:
    _, images = made(tmp_path, [])
    for scenario, arch, other in (("default", "i386", "x86_64"), ("own", "x86_64", "i386")):
        archive = images[scenario].initramfs.read_bytes()
        assert native_program("agent", arch).read_bytes() in archive
        assert native_program("agent", other).read_bytes() not in archive


def test_only_kernels_that_are_measured_are_looked_for(tmp_path: Path, fetched: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TWO)
    settings = (f"guest.busybox={tmp_path / 'busybox'}",)
    plan = resolve(str(path), Choices(only=["own", "bare"], assignments=settings)).plan
    prepare.guest_images(plan, lambda _: None)
    assert fetched == ["debian-amd64"]


@pytest.mark.usefixtures("fetched")
def test_a_kernel_without_a_driver_is_named_with_its_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> GuestImage:
        raise UsageError("no module 'ata_piix'", hint="choose another kernel")

    monkeypatch.setattr(prepare, "build_image", refuse)
    with pytest.raises(UsageError) as caught:
        made(tmp_path, [])
    assert caught.value.message == (
        "scenario.default with the kernel debian-rt-i386: no module 'ata_piix'"
    )
    assert caught.value.hint == "choose another kernel"


def test_facts_name_one_kernel_or_that_of_each_scenario(tmp_path: Path) -> None:
    rt, stock = (_image(tmp_path, name) for name in ("debian-rt-i386", "debian-i386"))
    assert prepare.kernel_facts({}) == {}
    same = prepare.kernel_facts({"a": rt, "b": rt})
    assert same == prepare.kernel_facts({"a": rt})
    assert (same["kernel"], same["kernel_package"]) == (
        "debian-rt-i386",
        "linux-image-rt-686-pae 1",
    )
    assert not [name for name in same if "." in name]
    facts = prepare.kernel_facts({"a": rt, "b": stock, "c": rt})
    assert facts["kernel_release"] == "6.1-debian-rt-i386 / 6.1-debian-i386"
    assert [facts[f"kernel.{name}"] for name in "abc"] == [
        "debian-rt-i386",
        "debian-i386",
        "debian-rt-i386",
    ]
    assert facts["kernel_sha256.b"] == stock.kernel.sha256


def _image(place: Path, name: str) -> GuestImage:
    kernel = files_of(place, name)
    return GuestImage(kernel=kernel, initramfs=place / "i", sha256="1" * 64, modules=())


@pytest.mark.parametrize(
    ("broken", "accel"),
    [((), Accel.KVM), (("debian-amd64",), Accel.TCG), (("debian-rt-i386",), Accel.TCG)],
)
@pytest.mark.usefixtures("fetched")
def test_kvm_is_used_if_every_kernel_boots_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Sequence[str], accel: Accel
) -> None:
    tried: list[str] = []

    def try_kvm(machine: Machine) -> str:
        tried.append(machine.kernel.name)
        return f"{machine.kernel.name} hangs" if machine.kernel.name in broken else ""

    monkeypatch.setattr(prepare, "_kvm_missing", lambda _: "")
    monkeypatch.setattr(prepare, "qemu_program", lambda: "qemu")
    monkeypatch.setattr(prepare, "qemu_version", lambda _: "7.2")
    monkeypatch.setattr(prepare, "_try_kvm", try_kvm)
    text = f'{TWO}[scenario.third]\nkernel = "debian-amd64"\n'
    plan = resolved(tmp_path, text, f"guest.busybox={tmp_path / 'busybox'}").plan
    guest = prepare.prepare_guest(plan, lambda _: None)
    assert guest is not None
    assert guest.accel is accel
    assert guest.accel_reason == (f"{broken[0]} hangs" if broken else "")
    assert tried == ["debian-rt-i386", "debian-amd64"], "each kernel once"
    if broken:
        wanted = resolved(
            tmp_path, text, f"guest.busybox={tmp_path / 'busybox'}", "guest.accel=kvm"
        )
        with pytest.raises(MissingCapability, match=f"{broken[0]} hangs"):
            prepare.prepare_guest(wanted.plan, lambda _: None)


# -- results -------------------------------------------------------------------------------------

FACTS = {
    "kernel": "debian-rt-i386 / debian-i386",
    **{f"kernel{key}.a": f"rt{key}" for key in ("", "_release", "_sha256")},
    **{f"kernel{key}.b": f"stock{key}" for key in ("", "_release", "_sha256")},
}


def _paired(path: Path, *, second: str = "Linux guest 6.1", **changes: object) -> Path:
    trials = [
        one
        for scenario, kernel in (("a", "Linux guest 6.1-rt"), ("b", second))
        for one in turns(((scenario, 1),), wake_ups=500, guest_facts={"kernel": kernel})
    ]
    return paired_run(path, trials, **changes)


def test_kernels_that_one_plan_chose_are_what_is_compared(tmp_path: Path) -> None:
    run = _paired(tmp_path / "run", qemu=FACTS)
    found = compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    assert found.allowed == ()
    told = {one.name: (one.before, one.after) for one in found.conditions.compared}
    assert told["guest kernel"] == ("rt", "stock")
    assert [text for text in found.words if "kernel" in text] == [
        "guest kernel rt rt_release (a)",
        "guest kernel stock stock_release (b)",
    ]


def test_kernels_that_differ_otherwise_are_refused(tmp_path: Path) -> None:
    same = {**FACTS, "kernel_sha256.b": "rt_sha256"}
    for name, facts in (("none told", {}), ("the same chosen", same)):
        run = _paired(tmp_path / name, qemu=facts)
        with pytest.raises(UsageError, match=r"\(kernel\)"):
            compare_groups(group(run, "a"), group(run, "b"), PLAIN)
    runs = [_paired(tmp_path / name, qemu=FACTS) for name in ("old", "new")]
    with pytest.raises(UsageError, match=r"\(kernel\)"):
        compare_groups(group(runs[0], "a"), group(runs[1], "b"), PLAIN)


def test_the_kernel_stands_beside_the_figures_only_where_it_differs(tmp_path: Path) -> None:
    trials = [trial_of([5, 6], name) for name in ("a", "b")]
    differing = judged(tmp_path / "differing", *trials, qemu=FACTS)
    assert [trial.conditions[-1] for trial in differing.trials] == [
        "guest kernel rt rt_release",
        "guest kernel stock stock_release",
    ]
    alike = judged(tmp_path / "alike", *trials, qemu={"kernel": "rt", "kernel_release": "6.1"})
    assert not [text for trial in alike.trials for text in trial.conditions if "kernel" in text]


def test_the_plan_of_a_run_is_read_by_any_toml_reader(tmp_path: Path) -> None:
    tables = tomllib.loads(resolved(tmp_path, TWO).toml)
    assert {name: table["kernel"] for name, table in tables["scenario"].items()} == {
        "default": "",
        "own": "debian-amd64",
        "bare": "",
    }
