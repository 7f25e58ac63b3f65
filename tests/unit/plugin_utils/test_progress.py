"""Modules behind the action plugin that shows their progress, run by ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
VCLUSTER = {"tenant": "payments", "name": "dev", "version": "v1.34.4+k3s1", "mode": "dedicated"}
SNAPSHOT = {"tenant": "payments", "name": "dev", "passphrase": "correct horse", "directory": "snapshots"}


@pytest.mark.parametrize(("module", "options"), [("vcluster", VCLUSTER), ("vcluster_snapshot", SNAPSHOT)])
def test_a_long_module_runs_in_the_background(tmp_path: Path, module: str, options: dict[str, str]) -> None:
    """The kubeconfig does not exist, which the module itself has to say."""
    task = {f"tenantry.kube.{module}": {**options, "kubeconfig": "/nonexistent"}, "async": 60, "poll": 1}
    play = tmp_path / "play.yml"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "PYTHONPATH": str(ROOT / "build"),
        "ANSIBLE_ASYNC_DIR": str(tmp_path),
    }
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), play],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2, run.stdout
    assert "kubeconfig: cannot read /nonexistent" in " ".join(run.stdout.split())
