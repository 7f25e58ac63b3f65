"""Nodes that leave are emptied first, as disruption budgets allow. Without kubelets: it is the API that decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness import ran, until

NODES = ("agent-0", "agent-1", "agent-2")
Drain = Callable[..., list[str]]


@pytest.fixture
def nodes(api_server: Path) -> Iterator[Path]:
    """Three nodes that say they are ready, the last of which went silent."""
    for name in NODES:
        ran(api_server, "create", "-f", "-", stdin=json.dumps(_of("Node", name)))
        room = {"cpu": "1", "memory": "1Gi", "pods": "10"}
        status: dict = {"allocatable": room, "capacity": room}
        status |= {"conditions": [{"type": "Ready", "status": "Unknown" if name == NODES[-1] else "True"}]}
        _status(api_server, status, "node", name)
    yield api_server
    ran(api_server, "delete", "nodes", *NODES)


@pytest.fixture
def drain(nodes: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Drain:
    """Drains the last two nodes; the warnings."""
    from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
    from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
    from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import drain as vcluster_drain

    def run(seconds: float) -> list[str]:
        warnings: list[str] = []
        vcluster_drain.drain(cluster, "payments--dev", list(NODES[1:]), Deadline(seconds), warnings.append)
        return warnings

    monkeypatch.setattr(connection, "inside", lambda _host, _namespace: cluster)
    return run


def _of(kind: str, name: str, **more: Any) -> dict:
    version = "apps/v1" if kind == "DaemonSet" else "policy/v1" if kind == "PodDisruptionBudget" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **more.pop("metadata", {})}, **more}


def _status(kubeconfig: Path, status: dict, *what: str) -> None:
    ran(kubeconfig, "patch", *what, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


@dataclass(frozen=True)
class Workload:
    """Pods that a kubelet would say are ready, and that end at once, for there is none."""

    kubeconfig: Path
    namespace: str

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, "-n", self.namespace, *words, stdin=stdin)

    def create(self, obj: dict) -> dict:
        return json.loads(self.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(obj)))

    def pod(self, name: str, node: str, owner: dict | None) -> None:
        owners = []
        if owner:
            same = {key: owner["metadata"][key] for key in ("name", "uid")}
            owners = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True, **same}]
        metadata = {"labels": {"app": "web"}, "ownerReferences": owners}
        self.create(_of("Pod", name, metadata=metadata, spec={"nodeName": node, **_POD}))
        self.is_ready(name)

    def is_ready(self, name: str) -> None:
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        _status(self.kubeconfig, ready, "pod", name, "-n", self.namespace)

    def on(self, node: str) -> set[str]:
        words = ("get", "pods", f"--field-selector=spec.nodeName={node}", "-o", "name")
        return {name.removeprefix("pod/") for name in self.kubectl(*words).split()}

    def healthy(self) -> int:
        """Pods that the disruption budget counts."""
        return int(self.kubectl("get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}") or 0)


_POD = {
    "terminationGracePeriodSeconds": 0,
    "automountServiceAccountToken": False,
    "containers": [{"name": "web", "image": "none"}],
}


@pytest.fixture
def workload(nodes: Path, namespace: str) -> Workload:
    """On the node that leaves: a pod of a controller, one of nobody, one of a DaemonSet. On a silent one: another."""
    made = Workload(nodes, namespace)
    made.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    # Some owner that exists: a ReplicaSet would make others.
    owner = made.create(_of("ConfigMap", "owner"))
    made.pod("web", "agent-1", owner)
    made.pod("silent", "agent-2", owner)
    made.create(
        _of("PodDisruptionBudget", "web", spec={"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    )
    labels = {"matchLabels": {"app": "each"}}
    template = {"metadata": {"labels": labels["matchLabels"]}, "spec": {**_POD, "terminationGracePeriodSeconds": 1}}
    made.create(_of("DaemonSet", "each", spec={"selector": labels, "template": template}))
    until(lambda: len(made.on("agent-1")) == 2)
    return made


def test_what_a_quota_holds_stays_and_is_named(nodes: Path, workload: Workload, drain: Drain) -> None:
    from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

    until(lambda: workload.healthy() == 2)
    before = workload.on("agent-1")
    with pytest.raises(TenantryError) as refused:
        drain(1)
    assert f"agent-1 not empty within 1 s: pod {workload.namespace}/web on agent-1 may not be evicted" in str(
        refused.value
    )
    assert "The disruption budget web needs 2 healthy pods and has 2 currently" in str(refused.value)
    assert workload.on("agent-1") == before
    cordoned = ran(nodes, "get", "nodes", "-o", "jsonpath={.items[?(@.spec.unschedulable==true)].metadata.name}")
    assert cordoned == "agent-1"


def test_the_rest_goes_and_what_is_lost_is_said(workload: Workload, drain: Drain) -> None:
    workload.pod("alone", "agent-1", None)
    workload.pod("spare", "agent-0", None)
    until(lambda: workload.healthy() == 4)
    (each,) = (name for name in workload.on("agent-1") if name.startswith("each-"))
    assert drain(20) == [f"payments--dev: pods without a controller end with their node: {workload.namespace}/alone"]
    assert workload.on("agent-1") == {each}
    assert workload.on("agent-0") >= {"spare"}
    assert "silent" in workload.on("agent-2"), "its kubelet would not end it"
    assert drain(1) == []
