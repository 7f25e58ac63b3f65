"""Every molecule scenario, one test each: converge, idempotence, verify, destroy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lab.harness import ROOT, lab_as_found
from . import servers

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
ON_MACHINES = ("platform",)


@pytest.fixture(scope="module", autouse=True)
def _lab() -> Iterator[None]:
    with lab_as_found():
        yield


@pytest.fixture(scope="module")
def api_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same for all scenarios that need no machine: each leaves them as it found them."""
    directory = tmp_path_factory.mktemp("scenarios") / "servers"
    servers.start(directory)
    yield directory
    servers.stop(directory)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, request: pytest.FixtureRequest) -> None:
    tools = Path(sys.executable).parent
    given = {} if scenario in ON_MACHINES else {"SCENARIO_SERVERS": str(request.getfixturevalue("api_servers"))}
    run = subprocess.run(
        [tools / "molecule", "test", "--scenario-name", scenario],
        cwd=ROOT,
        env=os.environ
        | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"molecule {scenario}:\n{run.stdout[-20000:]}\n{run.stderr[-5000:]}"
