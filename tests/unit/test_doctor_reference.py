"""The reference page, and that every known cause is looked for or said to be out of reach."""

from __future__ import annotations

import re
from pathlib import Path

from vmjitter.doctor.causes import CAUSES
from vmjitter.doctor.checks import HOST_CHECKS
from vmjitter.doctor.guest import GUEST_CHECKS
from vmjitter.doctor.reference import doctor_page
from vmjitter.doctor.remedies import REMEDIES
from vmjitter.doctor.vm import VM_CHECKS
from vmjitter.tuning.knobs import KNOBS

_PAGE = Path(__file__).parents[2] / "docs/reference/doctor.md"
_IDS = {
    *(check.id for check in HOST_CHECKS),
    *(check.id for check in VM_CHECKS),
    *(check.id for check in GUEST_CHECKS),
}


def test_every_known_cause_has_a_check_or_a_reason_why_not() -> None:
    assert len(CAUSES) == 36
    for cause in CAUSES:
        assert cause.checks or cause.only_while_running, cause
        assert set(cause.checks) <= _IDS, cause
        assert len(set(cause.checks)) == len(cause.checks)


def test_every_known_remedy_is_a_knob_or_a_check_that_exists() -> None:
    later = ["29b", "29c", "29d", "29e", "29f", "39b"]
    wanted = sorted([*map(str, range(1, 57)), *later])
    assert sorted(one.number for one in REMEDIES) == wanted
    for one in REMEDIES:
        assert one.knobs or one.checks, one
        assert set(one.knobs) <= set(KNOBS), one
        assert set(one.checks) <= _IDS, one
        assert len(set(one.knobs)) == len(one.knobs)
        assert len(set(one.checks)) == len(one.checks)


def test_every_knob_is_a_known_remedy() -> None:
    assert set(KNOBS) == {knob for one in REMEDIES for knob in one.knobs}


def test_names_of_host_and_vm_checks_are_different() -> None:
    assert len(_IDS & {check.id for check in VM_CHECKS}) == len(VM_CHECKS)
    assert not {check.id for check in HOST_CHECKS} & {check.id for check in VM_CHECKS}


def test_the_page_is_up_to_date() -> None:
    assert _PAGE.read_text() == doctor_page(), "run script/docs"


def test_the_page_describes_each_check_once_and_its_links_lead_somewhere() -> None:
    page = doctor_page()
    headings = re.findall(r"^### (\S+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(_IDS)
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= _IDS
