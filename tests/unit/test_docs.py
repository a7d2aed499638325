"""What the documents say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmjitter.cli import run
from vmjitter.config.reference import settings_page

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def test_generated_pages_are_up_to_date() -> None:
    page = REPOSITORY / "docs/reference/settings.md"
    assert page.read_text() == settings_page(), "run script/docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_package_is_on_the_map() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    packages = [path.parent.name for path in (REPOSITORY / "src/vmjitter").glob("*/__init__.py")]
    assert packages
    assert [name for name in packages if f"`{name}/`" not in text] == []


def test_the_commands_of_the_documents_exist(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = set()
    for page in PAGES:
        verbs |= set(re.findall(r"^(?:\$ )?vmjitter ([a-z]+)", page.read_text(), re.MULTILINE))
    assert verbs
    for verb in sorted(verbs):
        assert run([verb, "--help"]) == 0, verb
    capsys.readouterr()
