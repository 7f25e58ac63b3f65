"""What the playbooks make of an inventory before any cluster is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for top in ("playbooks", "roles") for path in (ROOT / top).rglob("*.yml"))
MISSING = "kubeconfig: cannot read {}: No such file or directory"


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """All tasks of a file, however deep: of plays, of blocks, of task files."""
    for entry in content if isinstance(content, list) else ():
        if isinstance(entry, dict):
            yield entry
            for inner in entry.values():
                yield from tasks(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_delegated_to_the_controller_runs_as_its_user(path: Path) -> None:
    """ansible_become of an inventory beats the keyword become; a variable of the task beats both."""
    delegated = [task for task in tasks(yaml.safe_load(path.read_text())) if "delegate_to" in task]
    become = {task["name"]: (task.get("vars") or {}).get("ansible_become") for task in delegated}
    assert [name for name, value in become.items() if value is not False] == []


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A hub that is an existing cluster whose kubeconfig is mistyped, and a sudo that nobody may use."""
    variables = {
        "tenantry_kubeconfig": str(tmp_path / "mistyped.yaml"),
        "tenantry_output_dir": str(tmp_path / "out"),
        "platform_kubeconfig": str(tmp_path / "mistyped.yaml"),
        "ansible_become": True,
        "ansible_become_exe": "/nonexistent/sudo",
        "tenantry_tenants": [{"name": "payments", "quota": {"cpu": 1}, "users": None, "vclusters": None}],
    }
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"fleet_hub": {"hosts": {"hub": {"ansible_connection": "local"}}}})
    )
    return tmp_path


def played(inventory: Path, playbook: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, f"playbooks/{playbook}.yml"]
    environment = (
        os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONPATH": str(ROOT / "build")} | variables
    )
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("playbook", ["site", "onboard", "report"])
def test_a_check_with_a_mistyped_kubeconfig_fails(inventory: Path, playbook: str) -> None:
    run = played(inventory, playbook, "--check")
    text = " ".join(run.stdout.split())
    assert run.returncode != 0, run.stdout
    assert MISSING.format(inventory / "mistyped.yaml") in text
    assert "sudo" not in text


@pytest.mark.parametrize("playbook", ["onboard", "report", "housekeeping"])
def test_without_a_kubeconfig_that_of_the_environment_is_used(inventory: Path, playbook: str) -> None:
    """As in AWX, whose credentials are variables of a job."""
    variables = yaml.safe_load((inventory / "group_vars/all.yml").read_text())
    del variables["tenantry_kubeconfig"]
    (inventory / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    run = played(inventory, playbook, K8S_AUTH_HOST="http://awx.example.com", K8S_AUTH_API_KEY="token")
    text = " ".join(run.stdout.split())
    assert 'K8S_AUTH_HOST: server "http://awx.example.com" is not an https:// address' in text


def test_an_inventory_without_tenants_has_nothing_to_do(inventory: Path) -> None:
    empty = {"tenantry_tenants": None, "tenantry_user_defaults": None, "tenantry_vcluster_defaults": None}
    (inventory / "group_vars/all.yml").write_text(
        yaml.safe_dump(yaml.safe_load((inventory / "group_vars/all.yml").read_text()) | empty)
    )
    run = played(inventory, "onboard")
    # Only the summary, which asks the hub what there is, needs it.
    assert "Validation of arguments failed" not in run.stdout
    assert MISSING.format(inventory / "mistyped.yaml") in " ".join(run.stdout.split())
