"""What all tests share: the checkout importable and runnable as the collection `tenantry.kube`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from .notes import NOTES, note

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "build"


def _importable() -> None:
    link = COLLECTIONS / "ansible_collections" / "tenantry" / "kube"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(COLLECTIONS))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COLLECTIONS), os.environ.get("PYTHONPATH")]))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)


_importable()  # at once: the conftest.py files below are imported before pytest is configured


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("TENANTRY_NIGHTLY") == "1":
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        note(config, f"{len(left_out)} nightly tests left out: they take minutes; TENANTRY_NIGHTLY=1 runs them")
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist, which prints nothing itself
        session.config.workeroutput["notes"] = session.config.stash.get(NOTES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for line in getattr(node, "workeroutput", {}).get("notes", []):
        note(node.config, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(NOTES, []):
        terminalreporter.write_line(line)
