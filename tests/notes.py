"""Lines at the end of a run of the tests: what was left out, how much was asked."""

from __future__ import annotations

import pytest

NOTES = pytest.StashKey[list[str]]()


def note(config: pytest.Config, line: str) -> None:
    """Have a line printed at the end, once, whichever of the processes notes it."""
    lines = config.stash.setdefault(NOTES, [])
    if line not in lines:
        lines.append(line)
