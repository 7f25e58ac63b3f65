"""A developer makes a virtual cluster, an admin lets somebody into one, with nothing but kubectl and a kubeconfig."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .harness import ROOT, ansible_playbook, kubectl, ran, run_module, until
from .people import can, is_refused, until_old_enough
from .test_site import changed

TENANT, HOME, HUB = "club", "tenant-club", "club--hub"
MINE = "club--mine"
POD = ROOT / "tests/lab/data/pod.yml"
RESOURCES = {"cpu": 2, "memory": "2Gi", "storage": "6Gi", "pods": 8}


@pytest.fixture(scope="module")
def people(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The kubeconfigs of two developers and an admin of a tenant that has no virtual cluster."""
    folder, tenant = tmp_path_factory.mktemp("club"), {"kubeconfig": hub, "tenant": TENANT}
    names = {"eva": "developer", "finn": "developer", "ada": "admin"}
    users = [
        {"tenant": TENANT, "name": name, "role": role, "hub_access": True, "kubeconfig_path": folder / f"{name}.yaml"}
        for name, role in names.items()
    ]
    quota = {"cpu": 3, "memory": "4Gi", "storage": "20Gi", "pods": 20, "vclusters": 2}
    for made in (
        run_module("tenant_quota", **tenant, quota=quota),
        run_module("tenant_user", kubeconfig=hub, users=users),
    ):
        assert not made.failed, made.msg
    until_old_enough(hub, HOME)
    yield {name: folder / f"{name}.yaml" for name in names}
    kubectl(hub, "delete", "virtualclusterrequests,tenantuserrequests", "--all", "-n", HOME)
    serve()
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in names]
    run_module("tenant_user", kubeconfig=hub, users=gone)
    removed = run_module("tenant_quota", **tenant, state="absent")
    assert not removed.failed, removed.msg


def serve(*arguments: str) -> str:
    return ansible_playbook("playbooks/self_service.yml", "-e", f"tenantry_tenant={TENANT}", *arguments).stdout


def request_for(name: str, user: str, **resources: object) -> str:
    return json.dumps(
        {
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "VirtualClusterRequest",
            "metadata": {"name": name},
            "spec": {"requestedBy": user, "resources": {**RESOURCES, **resources}},
        }
    )


def request_for_user(name: str, admin: str) -> str:
    return json.dumps(
        {
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "TenantUserRequest",
            "metadata": {"name": name},
            "spec": {"requestedBy": admin, "role": "developer"},
        }
    )


def taken(kubeconfig: Path, user: str, secret: str = "kubeconfig") -> Path:
    """The kubeconfig that a user finds in the tenant namespace."""
    secret = ran(kubeconfig, "--context", HUB, "get", "secret", f"{secret}-{user}", "-o", "jsonpath={.data.kubeconfig}")
    path = kubeconfig.with_name(f"{user}-taken.yaml")
    path.touch(mode=0o600)
    path.write_bytes(base64.b64decode(secret))
    return path


def test_a_developer_makes_uses_and_deletes_a_virtual_cluster(hub: Path, people: dict[str, Path]) -> None:
    eva, finn = people["eva"], people["finn"]
    ran(eva, "create", "-f", "-", stdin=request_for("mine", "eva"))
    ran(eva, "create", "-f", "-", stdin=request_for("second", "eva", cpu=2, memory="3Gi"))
    assert "Denied: quota of tenant club" in serve()
    ran(eva, "wait", "vcr/mine", "--for=condition=Ready", "--timeout=5s")
    second = json.loads(ran(eva, "get", "vcr", "second", "-o", "json"))["status"]
    assert second["phase"] == "Denied"
    assert "cpu 2 asked for, but 1 left" in second["message"]
    assert kubectl(hub, "get", "namespace", "club--second").returncode != 0
    ran(eva, "delete", "vcr", "second")
    serve()
    assert set(changed(serve()).values()) == {0}

    inside = ("--context", MINE)
    own = taken(eva, "eva")
    ran(own, *inside, "create", "clusterrolebinding", "mine", "--clusterrole=view", "--group=friends")
    ran(own, *inside, "create", "-f", str(POD))
    ran(own, *inside, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s")

    other = taken(finn, "finn")
    assert can(other, MINE, "create", "pods")
    assert not can(other, MINE, "create", "clusterrolebindings")
    assert "forbidden" in kubectl(finn, "--context", HUB, "get", "secret", "kubeconfig-eva").stderr
    refused = kubectl(finn, "--context", HUB, "delete", "vcr", "mine")
    assert "only its requester or an admin of the tenant can" in refused.stderr

    ran(eva, "delete", "vcr", "mine")
    assert "club/mine: Deleted" in serve()
    assert kubectl(hub, "get", "namespace", MINE).returncode != 0
    left = yaml.safe_load(taken(eva, "eva").read_text())["contexts"]
    assert [context["name"] for context in left] == [HUB]


@pytest.mark.nightly
def test_an_admin_adds_a_user_who_runs_a_pod_and_is_sent_away(people: dict[str, Path]) -> None:
    ada = people["ada"]
    ran(ada, "create", "-f", "-", stdin=request_for("mine", "ada"))
    ran(ada, "create", "-f", "-", stdin=request_for_user("bob", "ada"))
    serve()
    ran(ada, "wait", "vcr/mine", "--for=condition=Ready", "--timeout=5s")
    ran(ada, "wait", "tur/bob", "--for=condition=Ready", "--timeout=5s")
    own = taken(taken(ada, "bob", "initial-kubeconfig"), "bob")
    ran(own, "--context", MINE, "create", "-f", str(POD))
    ran(own, "--context", MINE, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s")
    assert not can(own, MINE, "create", "clusterrolebindings")
    assert set(changed(serve()).values()) == {0}

    ran(ada, "delete", "tur", "bob")
    serve()
    until(lambda: is_refused(own, MINE), 60)
    until(lambda: is_refused(own, HUB), 60)
    assert ran(taken(ada, "ada"), "--context", MINE, "get", "pod", "probe", "-o", "name") == "pod/probe\n"
    ran(ada, "delete", "vcr", "mine")
    assert "club/mine: Deleted" in serve()
