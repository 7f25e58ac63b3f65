"""A volume that grows: asked of the claim, refused where it cannot be, and waited for.

The API server has no storage. The test plays its part as far as the API shows it: it binds the claim, and says how
far the enlargement has come. What a driver does to a file system is not shown here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, call_module, kubectl, ran, writes

NAMESPACE = "payments--dev"
CLAIM = "data-server-0"


def storage_class(name: str, *, grows: bool) -> dict:
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    return {**kind, "provisioner": "example.com/none", "allowVolumeExpansion": grows}


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    classes = [storage_class("grows", grows=True), storage_class("fixed", grows=False)]
    ran(platform, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": classes}))
    tenant = {"kubeconfig": platform, "tenant": "payments"}
    made = call_module("tenant_quota", **tenant)
    assert not made.failed, made.msg
    yield platform
    removed = call_module("tenant_quota", **tenant, state="absent")
    assert not removed.failed, removed.msg
    ran(platform, "delete", "storageclass", "grows", "fixed")


@pytest.fixture(params=["grows", "fixed"])
def storage(request: pytest.FixtureRequest, hub: Path) -> Iterator[str]:
    """The storage class of a virtual cluster, whose claim has no volume yet."""
    made = vcluster(hub, request.param, "1Gi")
    assert not made.failed, made.msg
    yield request.param
    removed = call_module("vcluster", kubeconfig=hub, tenant="payments", name="dev", state="absent")
    assert not removed.failed, removed.msg
    ran(hub, "delete", "persistentvolume", "--all")


def vcluster(hub: Path, storage: str, size: str, **options: Any) -> ModuleResult:
    shape = {"mode": "dedicated", "version": "v1.37.2+k3s1", "wait": False}
    shape |= {"persistence": {"size": size, "storage_class": storage}, **options}
    return call_module("vcluster", kubeconfig=hub, tenant="payments", name="dev", **shape)


def bind(hub: Path, storage: str, size: str) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": size},
        "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
        "hostPath": {"path": "/nowhere"},
        "storageClassName": storage,
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "played"}, "spec": spec}
    ran(hub, "create", "-f", "-", stdin=json.dumps(volume))
    ran(hub, "-n", NAMESPACE, "wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{CLAIM}", "--timeout=60s")


def asked(hub: Path) -> str:
    return ran(hub, "-n", NAMESPACE, "get", "pvc", CLAIM, "-o", "jsonpath={.spec.resources.requests.storage}")


def test_it_grows_where_it_can_and_is_refused_where_not(hub: Path, storage: str) -> None:
    before = len(writes(hub))
    early = vcluster(hub, storage, "2Gi")
    assert early.failed
    assert ("before the volume exists" if storage == "grows" else "does not allow it") in early.msg
    assert len(writes(hub)) == before
    bind(hub, storage, "1Gi")
    for size, told in (("512Mi", "can grow but not shrink"), ("0", "256Mi")):
        refused = vcluster(hub, storage, size)
        assert refused.failed
        assert told in refused.msg
    assert len(writes(hub)) == before
    if storage == "fixed":
        refused = vcluster(hub, storage, "2Gi")
        assert "storage class fixed of host hub does not allow it. Keep 1Gi" in refused.msg
        assert len(writes(hub)) == before
        return
    predicted = vcluster(hub, storage, "2Gi", check=True, diff=True)
    grown = vcluster(hub, storage, "2Gi", diff=True)
    assert not grown.failed, grown.msg
    assert grown.data["actions"] == predicted.data["actions"]
    assert [a["paths"] for a in grown.data["actions"] if a["kind"] == "PersistentVolumeClaim"] == [
        ["spec.resources.requests.storage"]
    ]
    assert "StatefulSet" not in {action["kind"] for action in grown.data["actions"]}, "nothing restarts"
    assert asked(hub) == "2Gi"
    assert not vcluster(hub, storage, "2Gi").changed


@pytest.mark.nightly
@pytest.mark.parametrize("storage", ["grows"], indirect=True)
def test_it_is_waited_for_and_what_hinders_it_is_said(hub: Path, storage: str, cluster: Any) -> None:
    from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
    from ansible_collections.tenantry.kube.plugins.module_utils._core.quantities import parse
    from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
    from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import wait_until_grown

    bind(hub, storage, "1Gi")
    assert not vcluster(hub, storage, "2Gi").failed
    wanted = parse("2Gi", "size")
    pending = {"type": "FileSystemResizePending", "status": "True", "message": "waiting for a pod"}
    for status, told in (
        ({}, "its storage has not started"),
        ({"conditions": [pending]}, "waiting for a pod; if this persists, run the module with state: restarted"),
    ):
        played(hub, status)
        with pytest.raises(TenantryError, match=told):
            wait_until_grown(cluster, claim(cluster), wanted, Deadline(1))
    found = claim(cluster)
    played(hub, {"capacity": {"storage": "2Gi"}, "conditions": []})
    wait_until_grown(cluster, found, wanted, Deadline(10))


def claim(cluster: Any) -> dict:
    return cluster.get("v1/PersistentVolumeClaim", CLAIM, NAMESPACE)


def played(hub: Path, status: dict) -> None:
    """The part of the storage."""
    patch = json.dumps({"status": status})
    patched = kubectl(hub, "-n", NAMESPACE, "patch", "pvc", CLAIM, "--subresource=status", "--type=merge", "-p", patch)
    assert patched.returncode == 0, patched.stderr
