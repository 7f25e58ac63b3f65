"""What the demo's site.yml leaves behind, seen by its users: permissions, isolation, repetition, interruption."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .harness import DEMO, ROOT, ansible_environment, ansible_playbook, kubectl, run_module

USERS = DEMO / "users"
VCLUSTERS = DEMO / "vclusters"
POD = ROOT / "tests/lab/data/pod.yml"


def changed(output: str) -> dict[str, int]:
    """The number of changed tasks of each host in a playbook's recap."""
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.M)}


def test_every_kubeconfig_is_private(site: object) -> None:
    files = [DEMO / "hub.yaml", DEMO / "edge.yaml", *USERS.glob("*.yaml"), *VCLUSTERS.glob("*.yaml")]
    assert {path.stem for path in files} >= {"alice", "bob", "carol", "dave", "payments--dev", "research--lab"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files if path.parent != DEMO} == {0o700}


def test_second_run_changes_nothing(site: object) -> None:
    recap = changed(ansible_playbook("playbooks/site.yml").stdout)
    assert recap
    assert set(recap.values()) == {0}, recap


def test_check_mode_on_an_installed_system_predicts_nothing(site: object) -> None:
    run = ansible_playbook("playbooks/site.yml", "--check", "--diff")
    assert set(changed(run.stdout).values()) == {0}, run.stdout


@pytest.mark.parametrize(
    ("user", "allowed"), [("alice", True), ("bob", True), ("carol", False)], ids=["admin", "developer", "viewer"]
)
def test_who_may_run_a_pod(site: object, user: str, allowed: bool) -> None:
    context = ("--context", "payments--dev")
    assert kubectl(USERS / f"{user}.yaml", *context, "get", "pods").returncode == 0
    run = kubectl(USERS / f"{user}.yaml", *context, "create", "-f", str(POD))
    if not allowed:
        assert run.returncode != 0
        assert "forbidden" in run.stderr
        return
    assert run.returncode == 0, run.stderr
    try:
        ready = kubectl(USERS / f"{user}.yaml", *context, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s")
        assert ready.returncode == 0, ready.stderr
    finally:
        kubectl(USERS / f"{user}.yaml", *context, "delete", "-f", str(POD), "--grace-period=0", "--force")


def test_users_enter_only_their_tenants_clusters(site: object) -> None:
    contexts = {
        path.stem: {context["name"] for context in yaml.safe_load(path.read_text())["contexts"]}
        for path in USERS.glob("*.yaml")
    }
    payments = {"payments--dev", "payments--stage"}
    assert contexts == {"alice": payments, "bob": payments, "carol": payments, "dave": {"research--lab"}}


def with_cluster_of(user: Path, other: Path, target: Path) -> Path:
    """A kubeconfig with the credential of one user and the cluster of another."""
    mine, theirs = (yaml.safe_load(path.read_text()) for path in (user, other))
    cluster, name = theirs["clusters"][0], mine["users"][0]["name"]
    context = {"name": "crossed", "context": {"cluster": cluster["name"], "user": name}}
    target.touch(mode=0o600)
    target.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "users": mine["users"][:1],
                "contexts": [context],
                "current-context": "crossed",
            }
        )
    )
    return target


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
@pytest.mark.parametrize("other", ["vclusters/research--lab", "hub", "edge"])
def test_a_credential_of_payments_is_unknown_elsewhere(site: object, tmp_path: Path, user: str, other: str) -> None:
    crossed = with_cluster_of(USERS / f"{user}.yaml", DEMO / f"{other}.yaml", tmp_path / "crossed.yaml")
    resources = kubectl(DEMO / f"{other}.yaml", "api-resources", "--verbs=list", "-o", "name").stdout.split()
    assert "secrets" in resources
    assert kubectl(DEMO / f"{other}.yaml", "get", "secrets", "-A").returncode == 0, "the positive control"
    # One request for the whole list: a 401 comes before any resource is looked at.
    answer = kubectl(crossed, "get", ",".join(resources), "-A")
    assert answer.returncode != 0
    assert not answer.stdout
    assert "Unauthorized" in answer.stderr or "must be logged in" in answer.stderr, answer.stderr


EXTRA_TENANT = """
tenantry_tenants:
  - name: ledger
    users:
      - {name: erin, role: developer}
    vclusters:
      - {name: books, mode: dedicated}
"""


@pytest.mark.parametrize("task", ["virtual cluster", pytest.param("user", marks=pytest.mark.nightly)])
def test_a_killed_run_converges_when_run_again(site: object, hub: Path, tmp_path: Path, task: str) -> None:
    """SIGKILL while the named step is under way; the rerun finishes the job, with the join token of the first run."""
    variables = tmp_path / "extra.yml"
    variables.write_text(EXTRA_TENANT)
    try:
        _kill_at(task, variables)
        token_before = _join_token(hub)
        ansible_playbook("playbooks/site.yml", "-e", f"@{variables}")
        token = _join_token(hub)
        assert token
        assert token_before in ("", token)
        again = ansible_playbook("playbooks/site.yml", "-e", f"@{variables}")
        assert set(changed(again.stdout).values()) == {0}, again.stdout
        assert kubectl(USERS / "erin.yaml", "get", "pods").returncode == 0
    finally:
        common = {"kubeconfig": str(hub), "state": "absent"}
        for name, arguments in (
            ("vcluster", {"tenant": "ledger", "name": "books"}),
            ("tenant_user", {"tenant": "ledger", "name": "erin", "kubeconfig_path": str(USERS / "erin.yaml")}),
            ("tenant_quota", {"tenant": "ledger"}),
        ):
            removed = run_module(name, **common, **arguments)
            assert not removed.failed, removed.msg
        (VCLUSTERS / "ledger--books.yaml").unlink(missing_ok=True)


def _kill_at(task: str, variables: Path) -> None:
    command = [
        Path(sys.executable).with_name("ansible-playbook"), "-i", "inventories/demo", "playbooks/site.yml",
        "-e", f"@{variables}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, env=ansible_environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout
        for line in run.stdout:
            if line.startswith("TASK") and task in line.lower():
                break
        else:
            pytest.fail(f"no task of site.yml has {task!r} in its name")
        try:
            run.wait(timeout=1.5)  # let the step get into its work
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)


def _join_token(hub: Path) -> str:
    secret = kubectl(hub, "get", "secret", "join-token", "-n", "ledger--books", "-o", "jsonpath={.data}")
    return secret.stdout
