"""FLEET-5 between two real API servers: a new virtual cluster runs where labels and free capacity allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, stamp

from .harness import ModuleResult, call_module, kubectl, ran, until, writes

TENANT = "placed"
EDGE = {"name": "edge", "labels": {"region": "eu", "provider": "lab"}}


@contextmanager
def _node(cluster: Path) -> Iterator[None]:
    """A node without a kubelet."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "paper"}}
    ran(cluster, "create", "-f", "-", stdin=json.dumps(node))
    try:
        yield
    finally:
        ran(cluster, "delete", "node", "paper")


def _make_ready(cluster: Path, cpu: str) -> None:
    room = {"cpu": cpu, "memory": "8Gi", "pods": "50"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp(clock())}
    patch = json.dumps({"status": {"allocatable": room, "capacity": room, "conditions": [ready]}})
    ran(cluster, "patch", "node", "paper", "--subresource=status", "--type=merge", "-p", patch)
    until(lambda: not ran(cluster, "get", "node", "paper", "-o", "jsonpath={.spec.taints}"))


@pytest.fixture
def fleet(platform: Path, second_api_server: Path) -> Iterator[Path]:
    """A hub with a node of 4 CPUs, a member in the EU with one of 8, and a tenant."""
    member = {"kubeconfig": platform, "member_kubeconfig": second_api_server}
    made = [
        call_module("fleet_member", **member, **EDGE),
        call_module("tenant_quota", kubeconfig=platform, tenant=TENANT),
    ]
    assert not [one.msg for one in made if one.failed]
    with _node(platform), _node(second_api_server):
        _make_ready(platform, "4")
        _make_ready(second_api_server, "8")
        yield platform
    # Without a kubelet, they would end minutes after their node.
    ran(second_api_server, "-n", f"{TENANT}--dev", "delete", "pods", "--all", "--force", "--grace-period=0")
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("dev", "stage")]
    for removed in (
        call_module("vcluster", kubeconfig=platform, vclusters=gone),
        call_module("tenant_quota", kubeconfig=platform, tenant=TENANT, state="absent"),
        call_module("fleet_member", **member, name="edge", state="absent"),
    ):
        assert not removed.failed, removed.msg


def _vcluster(hub: Path, placement: dict[str, Any], **options: Any) -> ModuleResult:
    shape = {"mode": "dedicated", "version": "v1.37.2+k3s1", "persistence": {"type": "none"}, "wait": False}
    given: dict[str, Any] = {
        "kubeconfig": hub,
        "tenant": TENANT,
        "name": "dev",
        **shape,
        "placement": placement,
        **options,
    }
    return call_module("vcluster", **given)


def _exists(cluster: Path, name: str = "dev") -> bool:
    return kubectl(cluster, "get", "namespace", f"{TENANT}--{name}").returncode == 0


def test_placement_by_label_capacity_and_taint(fleet: Path, second_api_server: Path) -> None:
    in_eu = {"match_labels": {"region": "eu"}}
    before = len(writes(fleet)), len(writes(second_api_server))
    predicted = _vcluster(fleet, in_eu, check=True)
    assert (predicted.failed, predicted.data.get("host")) == (False, "edge"), predicted.msg
    assert (len(writes(fleet)), len(writes(second_api_server))) == before

    made = _vcluster(fleet, in_eu)
    assert not made.failed, made.msg
    assert (made.changed, made.data["placement"]) == (True, predicted.data["placement"])
    edge, hub = made.data["placement"]["members"]
    assert (made.data["host"], edge["name"], edge["scores"]) == (
        "edge",
        "edge",
        {"allocatable_cpu": 87, "allocatable_memory": 87},
    )
    assert hub == {
        "name": "hub",
        "excluded_by": "LabelSelector",
        "reason": "region=eu required, and it has no label region",
    }
    assert (_exists(fleet), _exists(second_api_server)) == (False, True)

    again = _vcluster(fleet, {"match_labels": {"region": "us"}})  # where it is, it stays
    assert (again.failed, again.changed, again.data["host"]) == (False, False, "edge"), again.msg
    assert "placement" not in again.data

    larger = {"name": "stage", "resources": {"cpu": 8, "memory": "2Gi", "pods": 5}}
    refused = _vcluster(fleet, {}, **larger)
    assert refused.failed
    assert (
        "edge: Capacity: cpu 8 asked for, but 7 free, 1 too little (8 allocatable, 1 promised to virtual clusters, 0 "
        "requested by other pods) | hub: Capacity: cpu 8 asked for, but 4 free, 4 too little" in refused.msg
    )
    assert refused.data["results"][0]["placement"]["host"] is None
    assert not _exists(fleet, "stage")

    taints = [{"key": "maintenance"}]
    options = {"kubeconfig": fleet, "member_kubeconfig": second_api_server, "name": "edge"}
    tainted = call_module("fleet_member", **options, taints=taints)
    assert (tainted.changed, tainted.data["labels"]) == (True, EDGE["labels"])
    assert not call_module("fleet_member", **options).changed
    assert _vcluster(fleet, {}, name="stage", check=True).data["host"] == "hub"
    tolerant = {**in_eu, "tolerations": [{"key": "maintenance", "operator": "Exists"}]}
    assert _vcluster(fleet, tolerant, name="stage", check=True).data["host"] == "edge"
    without = call_module("fleet_member", **options, taints=[], labels={})
    assert (without.data["labels"], without.data["taints"]) == ({}, [])
    assert not call_module("fleet_member", **options).changed
