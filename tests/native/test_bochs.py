"""The library that is preloaded into Bochs, in a small program that has what it looks for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from native.conftest import NATIVE, ROOT

SOURCE = ROOT / "native" / "bochs" / "commit.c"

# A program with Bochs' names: an array of CPUs, a function that sets the address, a longjmp.
# `LACKS_...` and `WRITES` make it a Bochs that is not as expected.
STAND_IN = r"""
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIP 4096
#define PREV_RIP 70000
#define CPU_BYTES (1 << 20)
#ifndef WRITES
#define WRITES 2
#endif

void __longjmp_chk(jmp_buf place, int value) __attribute__((noreturn));

#ifndef LACKS_CPUS
char **bx_cpu_array;
#else
static char **bx_cpu_array;
#endif

#ifndef LACKS_SET_EIP
void _ZN8BX_CPU_C11dbg_set_eipEm(char *cpu, uint64_t value)
{
    static const size_t places[] = { RIP, PREV_RIP, 8192 };

    for (int i = 0; i < WRITES; i++)
        memcpy(cpu + places[i], &value, sizeof(value));
}
#endif

static uint64_t at(int cpu, size_t place)
{
    uint64_t value;

    memcpy(&value, bx_cpu_array[cpu] + place, sizeof(value));
    return value;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0;
    jmp_buf place;
    volatile int jumps = 0;

    if (count) {
        bx_cpu_array = calloc((size_t)count, sizeof(*bx_cpu_array));
        for (int i = 0; i < count; i++) {
            bx_cpu_array[i] = calloc(1, CPU_BYTES);
            memset(bx_cpu_array[i], 0x11 * (i + 1), CPU_BYTES);
        }
    }
    int value = setjmp(place);
    if (value == 0) {
        for (int i = 0; i < count; i++) {
            uint64_t address = 0x1000 + (uint64_t)i;
            memcpy(bx_cpu_array[i] + RIP, &address, sizeof(address));
        }
        jumps++;
        __longjmp_chk(place, 7);
    }
    printf("jumped %d with %d\n", jumps, value);
    for (int i = 0; i < count; i++) {
        int changed = 0;
        for (size_t b = 0; b < CPU_BYTES; b++)
            changed += bx_cpu_array[i][b] != (char)(0x11 * (i + 1));
        printf("%llx %llx %d\n", (unsigned long long)at(i, RIP),
               (unsigned long long)at(i, PREV_RIP), changed);
    }
    printf("preload %s\n", getenv("LD_PRELOAD") ? "is inherited" : "is not inherited");
    return 0;
}
"""


def _need(compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}; apt-get install {compiler}")
    if os.uname().machine != "x86_64":
        pytest.skip("the library is for x86-64; use such a machine")


def _compile(compiler: str, source: Path, output: Path, *options: str) -> Path:
    flags = ("-Wall", "-Wextra", "-Werror", "-O2", *options)
    command = [compiler, *flags, str(source), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module", params=["gcc", "clang", "as it is shipped"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, by each compiler."""
    if request.param == "as it is shipped":
        if os.uname().machine != "x86_64":
            pytest.skip("the library is for x86-64; use such a machine")
        return NATIVE / "bochs-x86_64.so"
    _need(request.param)
    output = tmp_path_factory.mktemp(request.param) / "commit.so"
    strict = ("-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla")
    options = (
        "-std=c11",
        "-D_GNU_SOURCE",
        *strict,
        "-shared",
        "-fPIC",
        *(str(SOURCE.with_name(name)) for name in ("clock.c", "entry.c")),
    )
    return _compile(str(request.param), SOURCE, output, *options)


def _stand_in(place: Path, *options: str) -> Path:
    _need("gcc")
    source = place / "stand_in.c"
    source.write_text(STAND_IN)
    return _compile("gcc", source, place / "stand-in", "-rdynamic", *options)


def _run(
    program: Path, library: Path | None, cpus: int, count: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"VMJITTER_BOCHS_CPUS": count or str(cpus)}
    if library is not None:
        environment["LD_PRELOAD"] = str(library)
    return subprocess.run(
        [program, str(cpus)], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("cpus", [2, 5])
def test_after_a_longjmp_every_cpu_would_go_back_to_where_it_is(
    library: Path, tmp_path: Path, cpus: int
) -> None:
    done = _run(_stand_in(tmp_path), library, cpus)
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines, tail = done.stdout.splitlines()
    assert head == "jumped 1 with 7"
    # 16 bytes of each: nothing but the two addresses has been changed
    assert [line.split()[:2] for line in lines] == [[f"{0x1000 + i:x}"] * 2 for i in range(cpus)]
    assert all(int(line.split()[2]) <= 16 for line in lines)
    assert tail == "preload is not inherited"


def test_without_the_library_they_would_not(tmp_path: Path) -> None:
    done = _run(_stand_in(tmp_path), None, 2)
    assert [line.split()[1] for line in done.stdout.splitlines()[1:3]] == ["1" * 16, "2" * 16]


def test_a_longjmp_before_there_are_cpus_goes_through(library: Path, tmp_path: Path) -> None:
    done = _run(_stand_in(tmp_path), library, 0, "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("jumped 1 with 7\n")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-DLACKS_CPUS"], "it lacks a function or the array of CPUs"),
        (["-DLACKS_SET_EIP"], "it lacks a function or the array of CPUs"),
        (["-DWRITES=1"], "dbg_set_eip does not write two places"),
        (["-DWRITES=3"], "dbg_set_eip does not write two places"),
    ],
)
def test_another_bochs_is_refused(
    library: Path, tmp_path: Path, options: list[str], why: str
) -> None:
    done = _run(_stand_in(tmp_path, *options), library, 2)
    assert (done.returncode, done.stdout) == (1, "")
    message = f"vmjitter: this Bochs cannot be mended for several CPUs: {why}\n"
    assert done.stderr == message


@pytest.mark.parametrize("count", ["0", "-2", "256", "many"])
def test_a_number_of_cpus_that_cannot_be_is_refused(
    library: Path, tmp_path: Path, count: str
) -> None:
    done = _run(_stand_in(tmp_path), library, 2, count)
    assert done.returncode == 1
    assert "VMJITTER_BOCHS_CPUS does not say how many CPUs it has" in done.stderr


CLOCK = """
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  struct timeval first, second;
  gettimeofday(&first, NULL);
  usleep(2000);
  gettimeofday(&second, NULL);
  printf("%d %d %d\\n", first.tv_sec == second.tv_sec, first.tv_usec == second.tv_usec,
         time(NULL) == first.tv_sec);
  return 0;
}
"""


def test_the_wall_clock_stands_still(library: Path, tmp_path: Path) -> None:
    source = tmp_path / "clock.c"
    source.write_text(CLOCK)
    subprocess.run(["gcc", "-o", str(tmp_path / "clock"), str(source)], check=True)
    environment = {"LD_PRELOAD": str(library), "VMJITTER_BOCHS_CPUS": "1"}
    done = subprocess.run(
        [str(tmp_path / "clock")], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1 1\n"


def test_the_shipped_one_runs_with_the_c_library_of_debian_12() -> None:
    """Its newest symbol version is not newer than glibc 2.36, which it is built for."""
    image = (NATIVE / "bochs-x86_64.so").read_bytes()
    versions = {
        tuple(map(int, word.removeprefix(b"GLIBC_").split(b".")))
        for word in image.split(b"\0")
        if word.startswith(b"GLIBC_2.")
    }
    assert versions
    assert max(versions) <= (2, 36)


# A program with Bochs' names: a table of instructions, among them two that enter a guest; and the
# function that makes the mask of events.
ENTERS = r"""
#include <stdio.h>

static int order;

void _ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c(int *cpu, int *instruction)
{
    *cpu += *instruction;
    printf("%d enters\n", ++order);
}

#ifndef LACKS_MASK
void _ZN8BX_CPU_C25handleInterruptMaskChangeEv(int *cpu)
{
    printf("%d mask of %d\n", ++order, *cpu);
}
#endif

static void other(int *cpu, int *instruction)
{
    *cpu -= *instruction;
    printf("%d other\n", ++order);
}

#ifndef FIRST
#define FIRST _ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c
#endif

static const struct { void (*execute)(int *, int *); const char *name; } table[] = {
    { FIRST, "VMLAUNCH" },
    { other, "NOP" },
    { _ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c, "VMRESUME" },
};

int main(void)
{
    int cpu = 5, instruction = 2;

    for (volatile int i = 0; i < 3; i++)
        table[i].execute(&cpu, &instruction);
    return 0;
}
"""


def _enter(place: Path, library: Path, *options: str) -> subprocess.CompletedProcess[str]:
    _need("gcc")
    source = place / "enters.c"
    source.write_text(ENTERS)
    program = _compile("gcc", source, place / "enters", "-rdynamic", *options)
    environment = {"LD_PRELOAD": str(library), "VMJITTER_BOCHS_CPUS": "1"}
    return subprocess.run([program], capture_output=True, text=True, check=False, env=environment)


def test_the_mask_of_events_is_made_after_each_entry(library: Path, tmp_path: Path) -> None:
    done = _enter(tmp_path, library)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1 enters",
        "2 mask of 7",
        "3 other",
        "4 enters",
        "5 mask of 7",
    ]


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("-DLACKS_MASK", "it lacks a function"),
        ("-DFIRST=other", "its table of instructions is not as expected"),
    ],
)
def test_a_bochs_with_other_entries_is_refused(
    library: Path, tmp_path: Path, option: str, why: str
) -> None:
    done = _enter(tmp_path, library, option)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"vmjitter: this Bochs cannot be mended for VM entries: {why}\n"
