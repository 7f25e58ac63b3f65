"""FLEET-1: resources that is made smaller frees nothing of a quota that is still in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises

from .harness import ModuleResult, call_module, kubectl, ran, until

TENANT = "shrinking"
QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 10, "vclusters": 4}
SMALL = {"cpu": "1700m", "memory": "1Gi", "storage": "5Gi", "pods": 1}
# What is in use of each resource beyond what the smaller resources have.
OVER = {"cpu": "2300m", "memory": "2Gi", "storage": "8Gi", "pods": "3"}


def vclusters(hub: Path, *items: dict[str, Any], **more: Any) -> ModuleResult:
    shape = {"tenant": TENANT, "mode": "dedicated", "version": "v1.37.2+k3s1"}
    return call_module(
        "vcluster", kubeconfig=hub, vclusters=[{**shape, **one} for one in items], **{"wait": False, **more}
    )


@pytest.fixture
def hub(platform: Path) -> Iterator[Path]:
    """A hub, without nodes, on which `old` uses more than it is about to have."""
    tenant = {"kubeconfig": platform, "tenant": TENANT}
    assert not call_module("tenant_quota", **tenant, quota=QUOTA).failed
    made = vclusters(platform, {"name": "old", "resources": {"cpu": 3, "memory": "3Gi", "storage": "10Gi", "pods": 4}})
    assert not made.failed, made.msg
    until(lambda: used(platform).get("pods") == "1")
    ran(platform, "patch", "resourcequota", "vcluster", "-n", f"{TENANT}--old", "--type=merge", "-p",
        '{"spec": {"hard": {"persistentvolumeclaims": "2"}}}')  # fmt: skip
    until(lambda: fill(platform), 20)
    until(lambda: {key: used(platform).get(name) for key, name in KEYS.items()} == OVER)
    yield platform
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("old", "new")]
    for removed in (
        call_module("vcluster", kubeconfig=platform, vclusters=gone),
        call_module("tenant_quota", **tenant, state="absent"),
    ):
        assert not removed.failed, removed.msg


KEYS = {"cpu": "limits.cpu", "memory": "limits.memory", "storage": "requests.storage", "pods": "pods"}


def quota(hub: Path) -> dict[str, Any]:
    return json.loads(ran(hub, "get", "resourcequota", "vcluster", "-n", f"{TENANT}--old", "-o", "json"))


def used(hub: Path) -> dict[str, str]:
    return quota(hub)["status"].get("used") or {}


def fill(hub: Path) -> bool:
    """Two pods and a claim, beside the server's."""
    space = {"namespace": f"{TENANT}--old"}
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    safe = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    resources = {"limits": {"cpu": "650m", "memory": "512Mi"}}
    container = {"name": "web", "image": "web", "resources": resources, "securityContext": closed}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}
    items = [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "more", **space}, "spec": spec},
        *(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"web-{number}", **space},
                "spec": {"serviceAccountName": "vcluster", "securityContext": safe, "containers": [container]},
            }
            for number in range(2)
        ),
    ]
    made = kubectl(hub, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return made.returncode == 0


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes: what runs at the same time have noted counts no more."""
    then = promises.clock() + promises.LASTS + timedelta(seconds=1)
    monkeypatch.setattr(promises, "clock", lambda: then)


def test_resources_below_use_frees_what_is_not_in_use(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = vclusters(hub, {"name": "old", "resources": SMALL})
    assert not smaller.failed, smaller.msg
    assert (
        "below the current use (cpu 2300m of 1700m, memory 2Gi of 1Gi, storage 8Gi of 5Gi, pods 3 of 1)" in smaller.text
    )
    later(monkeypatch)
    until(lambda: quota(hub)["status"]["hard"]["limits.cpu"] == "1700m")
    left = {"cpu": "1700m", "memory": "6Gi", "storage": "12Gi", "pods": 7}
    for resource, more in {"cpu": "1701m", "memory": "6145Mi", "storage": "13Gi", "pods": 8}.items():
        refused = vclusters(hub, {"name": "new", "resources": {**left, resource: more}}, check=True)
        assert refused.failed
        assert f"{resource} {more} asked for, but {left[resource]} left" in refused.msg
    found = call_module("tenant_usage_info", kubeconfig=hub, tenant=TENANT).data["tenants"][0]
    assert (found["allocated"]["cpu"], found["counted"]["cpu"], found["available"]["cpu"]) == (
        "1700m",
        "2300m",
        "1700m",
    )
    assert found["exceeded"] == []
    fitting = vclusters(hub, {"name": "new", "resources": left})
    assert not fitting.failed, fitting.msg
    lowered = call_module("tenant_quota", kubeconfig=hub, tenant=TENANT, quota={**QUOTA, "cpu": "2"})
    assert "below the current use (cpu 4 of 2)" in lowered.text


def test_resources_are_lowered_while_another_is_raised(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one call, what is not in use may go from one to the other. Of another run's, its quota still counts."""
    lowered = {"name": "old", "resources": SMALL}
    at_once = vclusters(hub, lowered, {"name": "new", "resources": {"cpu": "1701m"}}, check=True)
    assert "cpu 4001m asked for, but 4 left" in at_once.msg
    assert kubectl(hub, "get", "namespace", f"{TENANT}--new").returncode != 0
    assert not vclusters(hub, lowered, {"name": "new", "resources": {"cpu": "1700m"}}, check=True).failed
    # TIME-2: a run was killed between the record and the quota, within which use may still grow.
    record = json.dumps({"mode": "dedicated", "resources": SMALL})
    ran(hub, "annotate", "namespace", f"{TENANT}--old", "--overwrite", f"tenantry.dev/spec={record}")
    later(monkeypatch)
    refused = vclusters(hub, {"name": "new", "resources": {"cpu": "1700m"}})
    assert "cpu 1700m asked for, but 1 left (3 of 4 used by other virtual clusters)" in refused.msg


def test_paused_one_frees_what_its_pods_do_not_use(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QUO-7. Pods that are not the platform's go on, as one that takes long to end: what they use counts."""
    state = {"name": "old", "state": "paused"}
    paused = vclusters(hub, state)
    assert not paused.failed, paused.msg
    assert not vclusters(hub, state).changed
    later(monkeypatch)
    assert used(hub)["pods"] == "2"
    refused = vclusters(hub, {"name": "new", "resources": {"cpu": "2701m"}}, check=True)
    assert "cpu 2701m asked for, but 2700m left (1300m of 4 used by other virtual clusters)" in refused.msg
    ran(hub, "delete", "pod", "-n", f"{TENANT}--old", "web-0", "web-1", "--grace-period=0", "--force")
    until(lambda: used(hub)["limits.cpu"] == "0")
    assert quota(hub)["spec"]["hard"]["requests.storage"] == "10Gi"
    made = vclusters(hub, {"name": "new", "resources": {"cpu": "3750m"}})
    assert not made.failed, made.msg
    refused = vclusters(hub, {"name": "old", "state": "resumed"})
    assert (
        f"{TENANT}--old is paused and has no room to resume: quota of tenant {TENANT}: cpu 3 asked for, but 250m left "
        "(3750m of 4 used by other virtual clusters)"
    ) in refused.msg
    assert kubectl(hub, "get", "pod", "-n", f"{TENANT}--old", "server-0").returncode != 0
    assert not vclusters(hub, {"name": "new", "state": "absent"}, wait=True).failed
    resumed = vclusters(hub, {"name": "old", "state": "resumed"})
    assert not resumed.failed, resumed.msg
    until(lambda: used(hub)["limits.cpu"] == "1")
