"""A host of two nodes: the pods of a virtual cluster use both, and one of them may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import kubectl, lab, until
from .space import WAIT, Space, made_space

pytestmark = pytest.mark.nightly

VCLUSTER = "payments--dev"
SECOND = "second"
BOTH = {"hub", SECOND}
HOSTNAME = "kubernetes.io/hostname"
# A pod is given up sooner than after the five minutes that Kubernetes gives a node otherwise.
SOON = [
    {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    for state in ("not-ready", "unreachable")
]


def workload(name: str, kind: str = "Deployment", replicas: int | None = 2, **spec: object) -> dict:
    container = {
        "name": "web",
        "image": "docker.io/lab/web:1",
        "args": ["serve", "--text", name],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"limits": {"cpu": "20m", "memory": "32Mi"}},
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "tolerations": SOON, "containers": [container], **spec},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            **({"replicas": replicas} if replicas is not None else {}),
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
    }


def apart(name: str) -> dict:
    term = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": HOSTNAME}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def evenly(name: str, otherwise: str) -> list[dict]:
    selector = {"matchLabels": {"app": name}}
    return [{"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": otherwise, "labelSelector": selector}]


@pytest.fixture(scope="module")
def second(site: object, hub: Path) -> Iterator[None]:
    """A machine more in the host's cluster."""
    lab("node", "add", SECOND, "--join", "hub")
    try:
        yield
    finally:
        kubectl(hub, "delete", "node", SECOND, "--ignore-not-found")
        lab("node", "rm", SECOND)


@pytest.fixture(scope="module")
def space(second: None) -> Iterator[Space]:
    """With pods that must be apart, pods that are spread, and a DaemonSet."""
    with made_space(VCLUSTER, "nodes") as found:
        found.create(
            workload("apart", affinity=apart("apart")),
            workload("even", replicas=4, topologySpreadConstraints=evenly("even", "DoNotSchedule")),
            workload("everywhere", "DaemonSet", None),
        )
        for one in ("deployment/apart", "deployment/even"):
            found("rollout", "status", one, WAIT)
        yield found


def pods(space: Space, app: str) -> list[dict]:
    return space.json("pods", "-l", f"app={app}")["items"]


def nodes_of(space: Space, app: str) -> Counter[str]:
    return Counter(pod["spec"]["nodeName"] for pod in pods(space, app))


def nodes(space: Space) -> set[str]:
    return {node["metadata"]["name"] for node in space.json("nodes")["items"]}


def test_both_nodes_carry_pods_and_are_seen(space: Space) -> None:
    assert nodes(space) == BOTH
    assert nodes_of(space, "apart") == {"hub": 1, SECOND: 1}
    assert nodes_of(space, "even") == {"hub": 2, SECOND: 2}


def test_daemon_set_follows_the_nodes(space: Space) -> None:
    until(lambda: len(pods(space, "everywhere")) == 2)
    space("rollout", "status", "daemonset/everywhere", WAIT)
    assert nodes_of(space, "everywhere") == {"hub": 1, SECOND: 1}


def test_a_third_pod_has_no_place_and_the_reason_is_reported(space: Space) -> None:
    space("scale", "deployment/apart", "--replicas=3")
    waiting = until(lambda: [pod for pod in pods(space, "apart") if not pod["spec"].get("nodeName")])
    assert "anti-affinity" in space.warning(waiting[0]["metadata"]["name"])
    space("scale", "deployment/apart", "--replicas=2")


def test_streams_and_packets_reach_both_nodes(space: Space) -> None:
    one, other = (pod for pod in pods(space, "apart") if pod["spec"].get("nodeName"))
    for pod, peer in ((one, other), (other, one)):
        name = pod["metadata"]["name"]
        url = f"http://{peer['status']['podIP']}:8080/print?text=hello-{peer['metadata']['name']}"
        space("exec", name, "--", "/web", "fetch", url)
        assert f"hello-{peer['metadata']['name']}" in space("logs", peer["metadata"]["name"])


def test_a_node_without_pods_is_not_seen(space: Space) -> None:
    space("delete", "deployment,daemonset", "--all", WAIT)
    space.create(workload("here", replicas=1, nodeSelector={HOSTNAME: "hub"}))
    space("rollout", "status", "deployment/here", WAIT)
    until(lambda: nodes(space) == {"hub"}, 120)


def test_pods_of_a_node_that_goes_are_replaced_elsewhere(space: Space, hub: Path) -> None:
    """They are no longer ready, their controller makes others, and they end when the node is back."""
    space.create(workload("lasting", topologySpreadConstraints=evenly("lasting", "ScheduleAnyway")))
    space("rollout", "status", "deployment/lasting", WAIT)
    assert nodes_of(space, "lasting") == {"hub": 1, SECOND: 1}
    (lost,) = (pod["metadata"]["name"] for pod in pods(space, "lasting") if pod["spec"]["nodeName"] == SECOND)
    lab("node", "off", SECOND)
    space("wait", "--for=condition=Ready=False", f"pod/{lost}", "--timeout=180s")
    space("rollout", "status", "deployment/lasting", "--timeout=180s")
    assert nodes_of(space, "lasting")["hub"] == 2
    lab("node", "add", SECOND)
    space("wait", "--for=delete", f"pod/{lost}", "--timeout=180s")
    assert len(pods(space, "lasting")) == 2
