"""What every test finds, wherever it runs: a terminal of a known kind and no colour switches."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long a test takes on a busy machine says nothing of the code; `timeout` ends one that hangs.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def _known_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
