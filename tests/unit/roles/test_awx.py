"""The playbook and the role awx, run by ansible-playbook against the stand-in for a controller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from module_utils._awx.serving import serving
from module_utils._awx.stand_in import ADMIN_TOKEN, StandIn
from syncer.authority import Authority

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {"awx_hub_token": "secret-token-of-the-hub", "tenantry_snapshot_passphrase": "secret-passphrase",
           "awx_snapshot_access_key": "secret-access-key", "awx_snapshot_secret_key": "secret-secret-key"}  # fmt: skip
VARIABLES = {
    "awx_project_url": "https://git.example.com/tenants.git",
    "awx_execution_environment_image": "registry.example.com/tenantry/ee:0.1.0",
    "awx_hub_host": "https://hub.example.com:6443",
    "tenantry_sizes": {"small": {"resources": {"cpu": 1, "memory": "2Gi", "pods": 10}}},
    "tenantry_tenants": [
        {"name": "payments", "quota": {"cpu": 8}, "users": [{"name": "alice", "role": "admin"}],
         "vclusters": [{"name": "dev"}]},
        {"name": "research", "users": None, "vclusters": None},
    ],
    **SECRETS,
}  # fmt: skip

Play = Callable[..., str]


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def play(stand_in: StandIn, tmp_path: Path) -> Iterator[Play]:
    """Run the playbook and return its output. Variables are over those above."""
    authority = Authority(tmp_path)
    (tmp_path / "ca.pem").write_text(authority.pem)
    hosts = {"fleet_hub": {"hosts": {"hub": {}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))

    with serving(stand_in, authority.server_context()) as address:
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "PYTHONPATH": str(ROOT / "build"),
            "CONTROLLER_HOST": address,
            "CONTROLLER_OAUTH_TOKEN": ADMIN_TOKEN,
        }

        def play(*arguments: str, succeeds: bool = True, **variables: Any) -> str:
            given = {**VARIABLES, "awx_ca_path": str(tmp_path / "ca.pem"), **variables}
            (tmp_path / "variables.yml").write_text(yaml.safe_dump(given))
            program = Path(sys.executable).with_name("ansible-playbook")
            command = [
                program,
                "-i",
                tmp_path / "hosts.yml",
                ROOT / "playbooks/awx.yml",
                "-e",
                f"@{tmp_path}/variables.yml",
            ]
            done = subprocess.run(
                [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            output = " ".join((done.stdout + done.stderr).split())
            assert (done.returncode == 0) == succeeds, output
            return output

        yield play


def test_playbook_configures_the_inventory(stand_in: StandIn, play: Play) -> None:
    """A check, a run and a second run, with all that Ansible can show. No secret is in it."""
    outputs = [play("--check", "--diff", "-vvv")]
    assert stand_in.writes == []
    outputs.append(play("--diff", "-vvv"))
    assert stand_in.names("teams") == ["payments", "research"]
    assert "payments: create virtual cluster" in outputs[-1]
    extend = stand_in.surveys[stand_in.named("workflow_job_templates", "payments: extend virtual cluster")["id"]]
    assert extend["spec"][0]["choices"] == "dev"
    passphrase = stand_in.named("credentials", "tenantry.kube snapshot passphrase")
    assert passphrase["inputs"] == {"passphrase": SECRETS["tenantry_snapshot_passphrase"]}
    stand_in.requests.clear()
    outputs.append(play("-vvv"))
    assert stand_in.writes == []
    assert "changed=0" in outputs[-1]
    for output in outputs:
        assert [secret for secret in [*SECRETS.values(), ADMIN_TOKEN] if secret in output] == []


def test_playbook_without_tenants_deletes_nothing(stand_in: StandIn, play: Play) -> None:
    output = play(tenantry_tenants=None, succeeds=False)
    assert "tenantry_tenants: is empty or not set, so all teams would be deleted" in output
    assert stand_in.requests == []


def test_playbook_names_the_missing_variable(stand_in: StandIn, play: Play) -> None:
    assert "project_url: is empty. Set it" in play(awx_project_url="", succeeds=False)
    assert stand_in.requests == []
