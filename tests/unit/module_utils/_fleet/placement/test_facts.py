"""Facts of a host in memory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement import facts
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import MemberFacts

from ..._vcluster.fake_host import FakeHost

ALL = facts.Needed(shared=True, ingress_classes=True)
NOTHING = facts.Needed(shared=False, ingress_classes=False)


class Host(FakeHost):
    def version(self) -> str:
        return "v1.36.3+k3s1"


def obj(kind: str, name: str, api: str = "v1", namespace: str | None = None, **more: Any) -> dict:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def node(name: str, *, ready: bool = True, os: str = "linux", spec: dict | None = None) -> dict:
    status = {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "9Gi", "nvidia.com/gpu": "2"},
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "nodeInfo": {"operatingSystem": os, "architecture": "amd64"},
    }
    return obj("Node", name, spec=spec or {}, status=status, metadata={"labels": {"disk": "ssd"}})


def pod(name: str, namespace: str, cpu: str, on: str = "one") -> dict:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return obj("Pod", name, namespace=namespace, spec={"nodeName": on, "containers": [container]})


def read(host: FakeHost, needed: facts.Needed = ALL) -> MemberFacts:
    return facts.read(MemberFacts(host.name, labels={"a": "b"}), host, {"payments--dev"}, needed)  # type: ignore[arg-type]


def test_read_nodes_that_can_run_pods() -> None:
    taints = [{"key": "gpu", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}]
    host = Host(
        "edge",
        node("one", spec={"taints": taints}),
        node("two", ready=False),
        node("three", spec={"unschedulable": True}),
        node("four", os="windows"),
        pod("own", "payments--dev", "1"),
        pod("other", "monitoring", "500m"),
        pod("elsewhere", "monitoring", "3", on="two"),
    )
    found = read(host, NOTHING)
    (one,) = found.nodes
    assert (one.name, one.taints, one.labels, found.labels) == ("one", (Taint("gpu"),), {"disk": "ssd"}, {"a": "b"})
    assert one.allocatable == {"cpu": 4000, "memory": 8 * 1024**3 * 1000, "pods": 110_000, "nvidia.com/gpu": 2000}
    assert (one.requested["cpu"], one.requested["pods"], one.others["cpu"]) == (1500, 2000, 500)
    assert (found.minor, found.shared_problem) == (None, "")


def test_read_classes_version_and_networks() -> None:
    notes = {"metadata": {"annotations": {facts.DEFAULT_CLASS: "true"}}}
    api = "networking.k8s.io/v1"
    host = Host(
        "edge",
        obj("StorageClass", "fast", "storage.k8s.io/v1", **notes),
        obj("IngressClass", "nginx", api),
        obj("ServiceCIDR", "kubernetes", api, spec={"cidrs": ["10.43.0.0/16"]}),
    )
    found = read(host)
    assert (found.storage_classes, found.has_default_storage_class) == ({"fast"}, True)
    assert (found.ingress_classes, found.minor, found.shared_problem) == ({"nginx"}, 36, "")
    assert read(host, NOTHING).ingress_classes == frozenset()


def test_read_two_service_networks_exclude_mode_shared() -> None:
    spec = {"cidrs": ["10.43.0.0/16", "10.44.0.0/16"]}
    found = read(Host("edge", obj("ServiceCIDR", "kubernetes", "networking.k8s.io/v1", spec=spec)))
    assert "exactly one IPv4 network of services" in found.shared_problem


def test_read_forbidden_ingress_classes_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("edge")

    def forbidden(kind: str, *_more: Any) -> list:
        if kind.endswith("IngressClass"):
            raise ApiError("forbidden", 403)
        return []

    monkeypatch.setattr(host, "list", forbidden)
    with pytest.raises(ApiError, match="Join it again"):
        read(host)


def test_requests_of_a_pod_as_the_scheduler_counts() -> None:
    def container(cpu: str, **more: Any) -> dict:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    init = [container("3"), container("200m", restartPolicy="Always"), container("1")]
    spec = {"containers": [container("500m"), {}], "initContainers": init, "overhead": {"cpu": "50m"}}
    assert facts.requests_of({"spec": spec}) == {"cpu": 3050, "pods": 1000}
    spec["initContainers"] = init[1:2]
    assert facts.requests_of({"spec": spec}) == {"cpu": 750, "pods": 1000}
    spec["resources"] = {"requests": {"cpu": "2"}}
    assert facts.requests_of({"spec": spec}) == {"cpu": 2050, "pods": 1000}
