"""Each field of a status, of the API's schema: what the host says is so inside, set, changed or taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import schema
from .harness import until
from .syncer_pair import Pair, PairSpace, syncer_pair

BALANCER = {
    "ingress.ip": ("203.0.113.5", "203.0.113.6"),
    "ingress.hostname": ("a.example.com", "b.example.com"),
    "ipMode": ("VIP", "Proxy"),
    "ports.protocol": ("TCP", "UDP"),
    "ports.error": ("example.com/First", "example.com/Second"),
}
CONDITION = {"conditions.status": ("True", "False"), "conditions.type": ("First", "Second")}
CLAIM = {
    **CONDITION,
    "phase": ("Bound", "Lost"),
    "accessModes": (["ReadWriteOnce"], ["ReadWriteOnce", "ReadOnlyMany"]),
    "capacity": ({"storage": "1Gi"}, {"storage": "2Gi"}),
    "allocatedResources": ({"storage": "1Gi"}, {"storage": "2Gi"}),
    "allocatedResourceStatuses": ({"storage": "ControllerResizeInProgress"}, {"storage": "NodeResizePending"}),
}
POD = {
    "conditions.status": ("True", "False"),
    "conditions.type": ("Ready", "ContainersReady"),
    "phase": ("Running", "Running"),
    "hostIP": ("192.0.2.1", "192.0.2.2"),
    "hostIPs.ip": ("192.0.2.1", "192.0.2.2"),
    "podIP": ("10.42.0.91", "10.42.0.92"),
    "podIPs.ip": ("10.42.0.91", "10.42.0.92"),
    "qosClass": ("Burstable", "Burstable"),
    "initContainerStatuses.name": ("init", "init"),
    "containerStatuses.name": ("main", "main"),
    "ephemeralContainerStatuses.name": ("debug", "debug"),
    "containerStatuses.resources.limits": ({"cpu": "100m"}, {"cpu": "200m"}),
    "stopSignal": ("SIGTERM", "SIGINT"),
    "recursiveReadOnly": ("Disabled", "Enabled"),
    "supplementalGroups": ([1], [1, 2]),
    "volumeMounts.name": ("v", "v"),
    "volumeMounts.mountPath": ("/v", "/w"),
    "containerID": ("containerd://first", "containerd://second"),
    "image": ("docker.io/lab/web:1", "docker.io/lab/web:2"),
    "resize": ("InProgress", "Deferred"),
}
# What is not shown, and why.
HOSTS_OWN = {
    "Pod": {
        "conditions.observedGeneration": "of the pod on the host",
        "observedGeneration": "of the pod on the host, shown as that of the pod inside",
        "nominatedNodeName": "a node on which pods of others may have to end first",
        "qosClass": "of the pod as it was created inside",
        "resize": "of older kubelets; conditions have it",
        **dict.fromkeys(
            ("resourceClaimStatuses", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses"),
            "of claims that are refused",
        ),
        "volumeHealth": "of the host's storage drivers",
        **{
            f"{group}.{field}": why
            for group in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
            for field, why in (
                ("allocatedResourcesStatus", "of devices; the API server of the host takes it of pods that have some"),
                ("resources.claims", "of claims that are refused"),
                ("resources.requests", "shown where the pod itself requests it"),
                ("allocatedResources", "shown where the pod itself requests it"),
            )
        },
    },
    "PersistentVolumeClaim": {
        "currentVolumeAttributesClassName": "of volumeAttributesClassName, which is refused",
        "modifyVolumeStatus": "of volumeAttributesClassName, which is refused",
        "healthStatus": "of the host's storage drivers",
    },
    "Service": {"conditions.observedGeneration": "of the service on the host"},
    "Ingress": {},
}


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    resources = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 50, "node_ports": 4, "load_balancers": 1}
    with syncer_pair(platform, tmp_path_factory.mktemp("status"), resources=resources) as found:
        yield found


@pytest.fixture(scope="module")
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space("status") as found:
        yield found


def compare(
    pair: Pair,
    space: PairSpace,
    plural: str,
    kind: str,
    values: dict,
    *,
    required: set[str] = frozenset(),
    together: tuple[set[str], ...] = (),
) -> None:
    """On the host, set the whole status, change it, and remove each field; each time, the virtual cluster follows."""
    group = "apis/networking.k8s.io/v1" if kind == "Ingress" else "api/v1"
    known, name = schema.schemas(pair.virtual, group), kind.lower()
    host = until(lambda: space.found_on_host(plural, name))["metadata"]["name"]
    status = f"{kind}Status"
    without = set(HOSTS_OWN[kind])
    fixed = {*schema.required(known, status), *required, *(leaf for leaves in together for leaf in leaves)}
    fields = [
        leaf
        for leaf in schema.leaves(known, status)
        if leaf not in fixed and not any(leaf == one or leaf.startswith(f"{one}.") for one in without)
    ]
    given = {f"values {number}": schema.sample(known, status, values, number, without) for number in (1, 0)}
    given |= {f"without {leaf}": schema.sample(known, status, values, 0, {*without, leaf}) for leaf in fields}
    given |= {f"without {one}": {**given["values 0"], one: None} for one in given["values 0"] if one not in fixed}
    given |= {f"without {' '.join(one)}": schema.sample(known, status, values, 0, without | one) for one in together}
    wrong = []
    nothing = dict.fromkeys(key for key in known[status]["properties"] if key not in ("phase", "qosClass"))
    for how, one in given.items():
        pair.set_status(plural, host, {**nothing, **one})
        there = pair.host_api.get(plural, pair.namespace, host).get("status") or {}
        try:
            until(lambda there=there: _mirrored(space.get(plural, name), there, without), 15)
        except AssertionError:
            wrong.append(how)
    assert not wrong


def _mirrored(obj: dict, there: dict, without: set[str]) -> bool:
    status, wanted = dict(obj.get("status") or {}), dict(there)
    for one in (status, wanted):
        if "conditions" in one:
            told = [_without(condition, "observedGeneration") for condition in one["conditions"] if not _own(condition)]
            one["conditions"] = sorted(told, key=lambda condition: condition["type"])
    # An empty list, or object, says no more than none.
    return all((status.get(key) or None) == (wanted.get(key) or None) for key in {*status, *wanted} - without)


def test_what_the_host_says_of_a_service_is_reported(pair: Pair, space: PairSpace) -> None:
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]}
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "service"}, "spec": spec})
    until(lambda: (space.found_on_host("services", "service") or {"spec": {}})["spec"].get("type") == "LoadBalancer")
    required = {"loadBalancer.ingress.ip", "loadBalancer.ingress.ipMode"}  # the one goes with the other

    values = {**BALANCER, **CONDITION}
    compare(pair, space, "services", "Service", values, required=required)


def test_what_the_host_says_of_an_ingress_is_reported(pair: Pair, space: PairSpace) -> None:
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
    )
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    rules = [{"host": "a.dev.example.com", "http": {"paths": [path]}}]
    spec = {"ingressClassName": "nginx", "rules": rules}
    made = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "ingress"}, "spec": spec}
    space.apply(made)
    compare(pair, space, "ingresses", "Ingress", BALANCER)


def test_what_the_host_says_of_a_claim_is_reported(pair: Pair, space: PairSpace) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
    metadata = {"name": "persistentvolumeclaim"}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    space.api.create(made, space.name)
    compare(pair, space, "persistentvolumeclaims", "PersistentVolumeClaim", CLAIM, required={"phase"})


def test_what_the_host_says_of_a_pod_is_reported(pair: Pair, space: PairSpace) -> None:
    container = {"image": "docker.io/lab/web:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    small = {"resources": {"requests": {"cpu": "1m"}, "limits": {"cpu": "100m"}}}
    spec = {
        "initContainers": [{"name": "init", **container, **small}],
        "containers": [{"name": "main", **container, **small}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    space.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}, space.name)
    pair.run_pod(space, "pod", "10.42.0.90")
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", **container}]}}
    space.api.patch("pods", space.name, "pod", debug, "ephemeralcontainers")
    until(lambda: space.found_on_host("pods", "pod")["spec"].get("ephemeralContainers"))

    addresses = ({"hostIP", "hostIPs.ip"}, {"podIP", "podIPs.ip"})
    required = {"phase", "hostIPs", "podIPs"}
    compare(pair, space, "pods", "Pod", POD, required=required, together=addresses)


def _own(condition: dict[str, Any]) -> bool:
    """Each side tells that of its own claims (test_syncer_claims.py)."""
    return condition["type"] == "Unused"


def _without(one: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != field}
