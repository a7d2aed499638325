"""Recipes are data: read, checked, and made of knobs that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmjitter.errors import UsageError
from vmjitter.tuning.knob import GuestKnob, Needs, ThreadKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.recipes import builtin_recipes, find_recipe, read_recipe, recipe_knobs

NAMES = ("libvirt-rt", "live-only", "paper-2012", "seapath", "tuned-rt", "vmjitter")
GOOD = 'title = "a"\nsource = "b"\nknobs = ["ksm-off", "vcpu-fifo"]\n'


def test_the_recipes_that_come_with_it() -> None:
    assert tuple(builtin_recipes()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_sound(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert recipe.source
    assert recipe_knobs(name) == recipe.knobs
    assert set(recipe.knobs) <= KNOBS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_pins_come_before_priorities(name: str) -> None:
    knobs = [KNOBS[one] for one in recipe_knobs(name)]
    media = [knob.medium for knob in knobs if isinstance(knob, ThreadKnob)]
    assert media == sorted(media, key=["cpus", "policy"].index)


@pytest.mark.parametrize("name", NAMES)
def test_no_recipe_sets_one_thing_in_two_ways(name: str) -> None:
    knobs = set(recipe_knobs(name))
    for pair in (
        {"halt-polling-off", "halt-polling-1ms"},
        {"aio-native", "aio-io-uring"},
        {"qemu-fifo-max", "vcpu-fifo"},
    ):
        assert not pair <= knobs


def test_live_only_needs_nothing_to_start_again() -> None:
    knobs = [KNOBS[one] for one in recipe_knobs("live-only")]
    assert [knob.name for knob in knobs if knob.needs is not Needs.NOTHING] == []
    assert {"nx-huge-pages-off", "split-lock-mitigation-off", "smt-off"}.isdisjoint(
        knob.name for knob in knobs
    )


def test_what_ours_leaves_out_is_said_and_true() -> None:
    text = builtin_recipes()["vmjitter"].read_text()
    head = text.partition("title =")[0]
    left_out = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)+", head)) & KNOBS.keys()
    assert {"cpu-pm", "nx-huge-pages-off", "iothread-fifo"} <= left_out
    assert left_out.isdisjoint(recipe_knobs("vmjitter"))


def test_every_host_only_recipe_has_no_guest_knob() -> None:
    knobs = [KNOBS[one] for one in recipe_knobs("tuned-rt")]
    assert [knob.name for knob in knobs if isinstance(knob, GuestKnob)] == []


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    recipe = find_recipe(str(path))
    assert (recipe.name, recipe.title, recipe.source) == ("mine", "a", "b")
    assert recipe.knobs == ("ksm-off", "vcpu-fifo")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (GOOD.replace("ksm-off", "ksm-of"), "no knob 'ksm-of'", "'ksm-off'"),
        (GOOD.replace("vcpu-fifo", "ksm-off"), "ksm-off stands there twice", "remove"),
        (GOOD.replace('["ksm-off", "vcpu-fifo"]', "[]"), "knobs is empty", "tune show"),
        (GOOD.replace('"ksm-off"', "7"), "no knob 7", "valid are"),
        (GOOD.replace('"a"', "3"), "title must be a text", "title ="),
        (GOOD.replace('source = "b"\n', ""), "source must be a text", "source ="),
        (GOOD.replace('["ksm-off", "vcpu-fifo"]', '"ksm-off"'), "must be a list", "knobs ="),
        (GOOD + "titel = 1\n", "no key 'titel'", "'title'"),
        (GOOD + "[[", "mine.toml", "a recipe is a TOML file"),
    ],
)
def test_a_broken_recipe_is_one_clear_error(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        read_recipe(path)
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="no recipe 'seapth'") as caught:
        find_recipe("seapth")
    assert caught.value.hint == "did you mean 'seapath'?"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"mine\.toml"):
        read_recipe(path)
