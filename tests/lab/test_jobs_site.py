"""A virtual cluster by jobs of AWX alone: created, changed, paused, resumed and deleted by answers of surveys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import site_variables
from .harness import MIRROR, RELEASE, ran, run_module
from .jobs import Controller
from .tenantry_lab.syncer import image_name
from .test_jobs import blank, kubeconfig_of

TENANT, NAME = "errands", "work"
INSIDE = ("--context", f"{TENANT}--{NAME}")
ONE = {"tenantry_tenant": TENANT, "tenantry_vcluster": NAME}
INVENTORY = {
    "tenantry_syncer_image": image_name(),
    "tenantry_vcluster_defaults": {
        "version": RELEASE,
        "expose": {"type": "NodePort"},
        "registries": site_variables.registries(MIRROR),
    },
    "tenantry_sizes": {"small": {"resources": {"cpu": 2, "memory": "2Gi", "pods": 10}}},
    "tenantry_tenants": [{"name": TENANT, "quota": {"vclusters": 1}, "users": [{"name": "alice", "role": "admin"}]}],
}


@pytest.fixture
def controller(hub: Path, tmp_path: Path) -> Iterator[Controller]:
    (tmp_path / "jobs").mkdir()
    yield Controller(tmp_path / "jobs", hub, INVENTORY, token=None)
    for name, arguments in (("vcluster", {"name": NAME}), ("tenant_user", {"name": "alice"}), ("tenant_quota", {})):
        removed = run_module(name, kubeconfig=hub, tenant=TENANT, state="absent", **arguments)
        assert not removed.failed, removed.msg


@pytest.mark.nightly
def test_virtual_cluster_by_answers(controller: Controller, hub: Path, tmp_path: Path) -> None:
    """JOB-1, JOB-2."""
    controller.run("onboard.yml", **blank("onboard"))
    create = {**blank("create_vcluster"), **ONE, "tenantry_size": "small", "tenantry_pods": "12"}
    create["tenantry_users"] = "bob:viewer"
    made = controller.run("create_vcluster.yml", **create)
    assert made.told.items() >= {**ONE, "tenantry_namespace": f"{TENANT}--{NAME}"}.items()
    again = [controller.run("create_vcluster.yml", **{**create, "tenantry_confirm": NAME}) for _again in range(2)]
    assert [job.changed for job in again] == [0, 0]

    alice = kubeconfig_of(hub, "alice", tmp_path, f"tenant-{TENANT}")
    secrets = json.loads(ran(alice, *INSIDE, "get", "secrets", "-n", "tenantry-system", "-o", "json"))["items"]
    labels = [one["metadata"]["labels"] for one in secrets if one["type"] == "tenantry.dev/credential"]
    # One token of each user, and none of an administrator of the platform.
    assert sorted(one.get("tenantry.dev/user", "") for one in labels) == ["alice", "bob"]

    for state, changes in (("", True), ("paused", False), ("resumed", True), ("resumed", False)):
        turned = controller.run("pause_vcluster.yml", **{**blank("pause_vcluster"), **ONE, "tenantry_state": state})
        assert (turned.changed > 0) == changes
    ran(alice, *INSIDE, "get", "namespaces")
    assert controller.run("delete_vcluster.yml", **ONE, tenantry_confirm=NAME).changed == 1
