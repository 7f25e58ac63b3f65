"""The playbooks as jobs of AWX: each in a new container that is gone afterwards, its variables answers of a survey."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Tenant
from ansible_collections.tenantry.kube.plugins.module_utils._awx.surveys import admin_survey

from .harness import AUDIT_LOG, PLATFORM_TOKEN, call_module, ran, sized, writes
from .jobs import Controller, Job
from .people import add_vcluster, can, is_known, is_refused, tokens
from .tenantry_lab.syncer import image_name

TENANT, HOME, HUB = "guild", "tenant-guild", "guild--hub"
USERS = ("alice", "bob")
SIZE = {"resources": {"cpu": 2, "memory": "2Gi", "pods": 10}, "version": "v1.37.2+k3s1"}
INVENTORY = {
    "tenantry_syncer_image": image_name(),
    "tenantry_sizes": {"small": SIZE},
    "tenantry_tenants": [
        {
            "name": TENANT,
            "quota": {"cpu": 4, "memory": "8Gi", "pods": 20, "vclusters": 2},
            "users": [{"name": name, "role": "admin", "hub_access": True} for name in USERS],
        }
    ],
}
SURVEYED: Any = SimpleNamespace(tenants=(Tenant(TENANT),), sizes=("small",))


@pytest.fixture(scope="module")
def controller(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """For a hub without nodes."""
    log = {"cluster": "hub", "path": str(platform.with_name(AUDIT_LOG))}
    yield Controller(tmp_path_factory.mktemp("jobs"), platform, {**INVENTORY, "tenantry_audit_logs": [log]})
    for name in USERS:
        call_module("tenant_user", kubeconfig=platform, tenant=TENANT, name=name, state="absent")
    removed = call_module("tenant_quota", kubeconfig=platform, tenant=TENANT, state="absent")
    assert not removed.failed, removed.msg


@pytest.fixture(scope="module")
def onboarded(controller: Controller) -> Job:
    return controller.run("onboard.yml", arguments="-vvv")


def blank(playbook: str) -> dict[str, Any]:
    """The answers of a user who fills in nothing that the survey does not require."""
    survey = admin_survey(playbook, SURVEYED) or {"spec": []}
    return {question["variable"]: question["default"] for question in survey["spec"]}


def kubeconfig_of(hub: Path, name: str, directory: Path, home: str = HOME) -> Path:
    """As an administrator hands it over."""
    secret = ran(hub, "get", "secret", f"inventory-kubeconfig-{name}", "-n", home, "-o", "jsonpath={.data.kubeconfig}")
    path = directory / f"{name}.yaml"
    path.write_bytes(base64.b64decode(secret))
    return path


def live_tokens(hub: Path) -> list[str]:
    """The user of each token of the tenant that is valid: of each Secret that one is bound to."""
    listed = json.loads(ran(hub, "get", "secrets", "-n", HOME, "-o", "json"))["items"]
    bound = [one for one in listed if one["type"] == "tenantry.dev/credential"]
    return sorted(one["metadata"]["labels"]["tenantry.dev/user"] for one in bound)


def test_later_jobs_leave_one_token_per_user(controller: Controller, onboarded: Job, tmp_path: Path) -> None:
    """JOB-1."""
    assert onboarded.changed > 0
    before = {name: tokens(kubeconfig_of(controller.hub, name, tmp_path)) for name in USERS}
    again = sized(2, 4)
    jobs = [controller.run("onboard.yml", **blank("onboard")) for _again in range(again)]
    assert [job.changed for job in jobs] == [0] * again
    assert live_tokens(controller.hub) == list(USERS)
    for name in USERS:
        path = kubeconfig_of(controller.hub, name, tmp_path)
        assert tokens(path) == before[name]
        assert is_known(path, HUB)
        assert can(path, HUB, "create", "virtualclusterrequests.tenantry.dev")


def test_output_at_vvv_has_no_credential(controller: Controller, onboarded: Job, tmp_path: Path) -> None:
    paths = [kubeconfig_of(controller.hub, name, tmp_path) for name in USERS]
    secret = {PLATFORM_TOKEN, *(token for path in paths for token in tokens(path).values())}
    assert len(secret) == 3
    assert "inventory-kubeconfig-alice" in onboarded.text  # the events have the results of modules
    assert [token for token in secret if token in onboarded.text] == []
    files = [path for path in onboarded.directory.rglob("*") if path.is_file() and "env" not in path.parts]
    issued = [token.encode() for token in secret - {PLATFORM_TOKEN}]
    assert [str(path) for path in files if any(token in path.read_bytes() for token in issued)] == []


@pytest.mark.parametrize("tenant", ["", pytest.param(TENANT, marks=pytest.mark.nightly)])
def test_blank_and_text_answers(controller: Controller, onboarded: Job, tenant: str) -> None:
    """JOB-2: the playbooks that need no answer, one after the other to save time."""
    playbooks = ["report", "audit", "housekeeping", "self_service", "onboard"]
    answers = {name: answer for playbook in playbooks for name, answer in blank(playbook).items()}
    assert set(answers.values()) == {""}
    job = controller.run(*(f"{playbook}.yml" for playbook in playbooks), **{**answers, "tenantry_tenant": tenant})
    assert job.changed == 0
    rows = [line.strip() for line in job.stdout.splitlines() if TENANT in line and "   " in line.strip()]
    assert len(rows) > 5  # of quotas and events, a line for each
    assert [row for row in rows if "\\n" in row] == []


def test_required_answers_as_text(controller: Controller, onboarded: Job) -> None:
    """JOB-2: the playbooks whose surveys have required questions, as far as a hub without nodes goes."""
    add_vcluster(controller.hub, TENANT, "old")
    given = {"tenantry_tenant": TENANT, "tenantry_vcluster": "old", "tenantry_confirm": "old"}
    deleted = controller.run("delete_vcluster.yml", **{**blank("delete_vcluster"), **given})
    assert deleted.changed == 1
    assert "no virtual clusters" in deleted.stdout
    refused = controller.run("pause_vcluster.yml", fails=True, **{**blank("pause_vcluster"), **given})
    assert "guild--old does not exist and cannot be paused" in refused.text


def test_create_answers_predict_what_they_create(controller: Controller, onboarded: Job) -> None:
    before = len(writes(controller.hub))
    given = {"tenantry_tenant": TENANT, "tenantry_vcluster": "new", "tenantry_size": "small", "tenantry_pods": "12"}
    users = {"tenantry_users": ["carol:viewer", "alice"]}
    job = controller.run("create_vcluster.yml", arguments="--check", **{**blank("create_vcluster"), **given, **users})
    assert job.changed == 2
    assert "with their kubeconfigs: alice, bob, carol" in job.stdout
    assert len(writes(controller.hub)) == before


def test_offboard_answer_removes_tenant_and_tokens(controller: Controller, onboarded: Job, tmp_path: Path) -> None:
    path = kubeconfig_of(controller.hub, "alice", tmp_path)
    assert is_known(path, HUB)
    given = {"tenantry_tenant": TENANT, "tenantry_confirm": TENANT}
    assert controller.run("offboard.yml", **{**blank("offboard"), **given}).changed > 0
    assert is_refused(path, HUB)
    assert ran(controller.hub, "get", "namespace", HOME, "--ignore-not-found") == ""
