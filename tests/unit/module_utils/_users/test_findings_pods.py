"""Which workloads are a way into a virtual cluster, by the accounts of its system namespaces or by its nodes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings

from .test_findings import BOB, NOW, Api


def _workload(name: str, space: str = "kube-system", *, owner: str = "", uid: str = "", **spec: Any) -> dict[str, Any]:
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta = {"name": name, "namespace": space, "uid": uid or f"uid-{space}-{name}", "ownerReferences": owners}
    return {"metadata": meta, "spec": {**spec, "template": {"spec": spec}, "jobTemplate": {"spec": {"template": spec}}}}


def _known(name: str, **spec: Any) -> dict[str, Any]:
    return _workload(name, serviceAccountName=name, **spec)


def _workloads() -> dict[str, list[dict[str, Any]]]:
    dns = {"serviceAccountName": "coredns", "uid": "dns"}
    return {
        "apps/v1/Deployment kube-system": [_known("coredns"), _known("metrics-server"), _workload("eve", uid="eve")],
        "apps/v1/DaemonSet kube-system": [_known("coredns")],
        "apps/v1/ReplicaSet kube-system": [
            _workload("coredns-1", owner="uid-kube-system-coredns", **dns),
            _workload("eve-1", owner="eve"),
            _workload("bare"),
        ],
        "v1/ReplicationController kube-system": [_workload("old")],
        "batch/v1/CronJob kube-public": [_workload("again", "kube-public")],
        "apps/v1/StatefulSet tenantry-system": [_workload("web", "tenantry-system")],
        "batch/v1/Job shop": [_workload("theirs", "shop")],
        "v1/Pod kube-system": [
            _workload("coredns-1-a", owner="dns", serviceAccountName="coredns"),
            _workload("coredns-1-b", owner="dns", serviceAccountName="clusterrole-aggregation-controller"),
            _workload("coredns-1-c", owner="dns", serviceAccountName="coredns", ephemeralContainers=[{"name": "e"}]),
            _workload("of-nobody", owner="forged"),
            _workload("alone"),
        ],
    }


def test_workloads_in_system_namespaces() -> None:
    found, more = findings.look(Api(_workloads()), BOB, NOW)
    assert {(one["kind"], one["namespace"], one["name"]) for one in found} == {
        ("Deployment", "kube-system", "eve"),
        ("DaemonSet", "kube-system", "coredns"),
        ("ReplicationController", "kube-system", "old"),
        ("ReplicaSet", "kube-system", "bare"),
        ("CronJob", "kube-public", "again"),
        ("StatefulSet", "tenantry-system", "web"),
        ("Pod", "kube-system", "coredns-1-b"),
        ("Pod", "kube-system", "coredns-1-c"),
        ("Pod", "kube-system", "of-nobody"),
        ("Pod", "kube-system", "alone"),
    }
    assert more == 0
    assert all("manifests" in one["why"] for one in found)
    assert "kubectl delete cronjob -n kube-public again" in [one["end"] for one in found]


@pytest.mark.parametrize(
    ("spec", "is_one"),
    [
        ({}, False),
        ({"serviceAccountName": "namespace-controller"}, True),
        ({"serviceAccountName": None}, True),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, True),
        ({"volumes": [{"name": "a", "emptyDir": {}}]}, False),
        ({"containers": [{"securityContext": {"privileged": True}}]}, True),
        ({"initContainers": [{"securityContext": {"privileged": True}}]}, True),
        ({"hostPID": True}, True),
    ],
)
@pytest.mark.parametrize("name", ["coredns", "metrics-server"])
def test_a_known_deployment_that_is_another_is_one(name: str, spec: dict[str, Any], is_one: bool) -> None:
    deployment = _workload(name, **{"serviceAccountName": name, **spec})
    found, _more = findings.look(Api({"apps/v1/Deployment kube-system": [deployment]}), BOB, NOW)
    assert [one["name"] for one in found] == ([name] if is_one else [])


def test_a_namespace_for_privileged_pods_is_one_where_there_are_nodes() -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    spaces = [{"metadata": {"name": "open", "labels": labels}}, {"metadata": {"name": "closed"}}]
    for has_nodes in (True, False):
        found, _more = findings.look(Api({"v1/Namespace": spaces}), BOB, NOW, has_nodes=has_nodes)
        assert [one["name"] for one in found] == (["open"] if has_nodes else [])
