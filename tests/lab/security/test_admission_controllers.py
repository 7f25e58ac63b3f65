"""What the controllers of a host, which are Kubernetes itself, do there for objects that made it past everything else.

The objects are an administrator's: nobody else gets them into the namespace of a virtual cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness import kubectl, ran, until
from .hosted import CONTAINER, OURS, SPACE, Host, create, host_of

LABELS = {**OURS, "of": "somebody"}  # as the platform's pods have them
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
SELECTED = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
MAKERS = {
    "ReplicationController": ("v1", {"replicas": 1, "selector": LABELS, "template": TEMPLATE}),
    "ReplicaSet": ("apps/v1", SELECTED),
    "Deployment": ("apps/v1", SELECTED),
    "StatefulSet": ("apps/v1", {**SELECTED, "serviceName": "x"}),
    "Job": ("batch/v1", {"template": ONCE}),
}
SERVER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "server"}
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "somebodys"},
    "spec": {"minReplicas": 2, "maxReplicas": 2, "scaleTargetRef": SERVER},
}


@pytest.fixture(scope="module")
def host(platform: Path) -> Iterator[Host]:
    with host_of(platform) as found:
        yield found


def maker(kind: str, namespace: str) -> dict:
    api, spec = MAKERS[kind]
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "somebodys", "namespace": namespace}, "spec": spec}


def pods(host: Host, namespace: str) -> list[dict]:
    """Those of somebody."""
    return json.loads(ran(host.kubeconfig, "get", "pods", "-n", namespace, "-l", "of=somebody", "-o", "json"))["items"]


def told(host: Host, namespace: str, reason: str) -> str:
    """What the events of a reason say."""
    events = ("get", "events", "-n", namespace, "--field-selector", f"reason={reason}", "-o", "json")
    return "\n".join(one["message"] for one in json.loads(ran(host.kubeconfig, *events))["items"])


def replicas(host: Host) -> str:
    return ran(host.kubeconfig, "get", "statefulset", "server", "-n", SPACE, "-o", "jsonpath={.spec.replicas}")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_controller_makes_no_pods(host: Host, kind: str) -> None:
    """Where nothing is the platform's, the same object has its pod: that is the positive control."""
    create(host.kubeconfig, maker(kind, SPACE), maker(kind, "default"))
    try:
        until(lambda: "can create pods" in told(host, SPACE, "FailedCreate"), 30)
        until(lambda: pods(host, "default"), 30)
        assert pods(host, SPACE) == []
    finally:
        for namespace in (SPACE, "default"):
            ran(host.kubeconfig, "delete", kind, "somebodys", "-n", namespace)
            ran(host.kubeconfig, "delete", "events", "-n", namespace, "--all")
        until(lambda: not pods(host, "default"), 30)


def test_a_scaler_does_not_scale_the_server(host: Host) -> None:
    create(host.kubeconfig, {**SCALER, "metadata": {"name": "somebodys", "namespace": SPACE}})
    try:
        until(lambda: "can scale anything" in told(host, SPACE, "FailedRescale"), 60)
        assert replicas(host) == "1"
    finally:
        ran(host.kubeconfig, "delete", "hpa", "somebodys", "-n", SPACE)


def test_a_statefulset_of_the_platforms_has_its_pods_again(host: Host) -> None:
    """The positive control in the namespace itself: its controller may what others may not."""
    there = ("get", "pod", "server-0", "-n", SPACE, "-o", "jsonpath={.metadata.uid}")
    before = ran(host.kubeconfig, *there)
    ran(host.kubeconfig, "delete", "pod", "server-0", "-n", SPACE, "--force", "--grace-period=0")
    until(lambda: (found := kubectl(host.kubeconfig, *there).stdout) and found != before, 30)


def test_without_the_policy_they_do(host: Host) -> None:
    """The mutation control."""
    kinds = ("ReplicationController", "Job")
    with host.without("tenantry-pods"):
        create(host.kubeconfig, {**SCALER, "metadata": {"name": "somebodys", "namespace": SPACE}})
        create(host.kubeconfig, *(maker(kind, SPACE) for kind in kinds))
        try:
            until(lambda: len(pods(host, SPACE)) == len(kinds), 60)
            until(lambda: replicas(host) == "2", 60)
        finally:
            for kind in ("hpa", *kinds):
                ran(host.kubeconfig, "delete", kind, "somebodys", "-n", SPACE)
            ran(host.kubeconfig, "scale", "statefulset", "server", "-n", SPACE, "--replicas=1")
