"""Every molecule scenario, one test each: converge, idempotence, verify, destroy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lab.harness import ROOT, lab_as_found

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


@pytest.fixture(scope="module", autouse=True)
def _lab() -> Iterator[None]:
    with lab_as_found():
        yield


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    tools = Path(sys.executable).parent
    run = subprocess.run(
        [tools / "molecule", "test", "--scenario-name", scenario],
        cwd=ROOT,
        env=os.environ
        | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"molecule {scenario}:\n{run.stdout[-20000:]}\n{run.stderr[-5000:]}"
