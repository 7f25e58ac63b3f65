"""What of a pod reaches the host, field by field of Kubernetes 1.37."""

from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import pod as pod_spec

from ..objects import CONFIG, PLATFORM_OBJECTS, POD_CONTEXT, container, pod

PASSED_THROUGH = {
    "activeDeadlineSeconds": 30,
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db"]}],
    "hostIPC": True,
    "hostNetwork": True,
    "hostPID": True,
    "hostUsers": False,
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "os": {"name": "linux"},
    "readinessGates": [{"conditionType": "example.com/ready"}],
    "resources": {"limits": {"cpu": "1"}},
    "restartPolicy": "Never",
    "securityContext": {"runAsUser": 0, "sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    "shareProcessNamespace": True,
    "terminationGracePeriodSeconds": 5,
}
DROPPED = {
    "evictionResponders": [{"name": "example.com/slow", "priority": 1000}],
    "nodeName": "node-1",
    "overhead": {"cpu": "0"},
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 2000001000,
    "runtimeClassName": "runc-privileged",
    "schedulerName": "mine",
    "schedulingGates": [{"name": "x"}],
    "serviceAccount": "syncer",
    "setHostnameAsFQDN": True,
    "subdomain": "peers",
    "workloadRef": {"name": "new in some release"},
}
REPLACED = {
    "serviceAccountName": ("syncer", "pods"),
    "automountServiceAccountToken": (True, False),
    "enableServiceLinks": (True, False),
    "priorityClassName": ("system-node-critical", "tenantry-dev"),
    "dnsPolicy": ("ClusterFirst", "None"),
    "hostname": ("db", "db"),
    "terminationGracePeriodSeconds": (7200, 3600),
}


def made(spec: dict | None = None, context: pod_spec.PodContext = POD_CONTEXT, **metadata: object) -> dict:
    return pod_spec.host_pod(pod(spec, **metadata), context)["spec"]


@pytest.mark.parametrize("field", PASSED_THROUGH)
def test_host_pod_passes_field_unchanged(field):
    assert made({field: PASSED_THROUGH[field]})[field] == PASSED_THROUGH[field]


@pytest.mark.parametrize("field", DROPPED)
def test_host_pod_omits_field(field):
    assert field not in made({field: DROPPED[field]})


@pytest.mark.parametrize("field", REPLACED)
def test_host_pod_field_is_set_by_platform(field):
    asked, set_to = REPLACED[field]
    assert made({field: asked})[field] == set_to


def test_host_pod_has_no_other_fields():
    everything = made({**PASSED_THROUGH, **DROPPED, **{field: asked for field, (asked, _given) in REPLACED.items()}})
    others = {"containers", "tolerations", "volumes", "affinity"}
    assert set(everything) == {*PASSED_THROUGH, *REPLACED, *others}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({**PASSED_THROUGH, **{field: asked for field, (asked, _given) in REPLACED.items()}}, []),
        ({"workloadRef": {"name": "new"}}, ["spec.workloadRef"]),
        ({"containers": [container(), container(new=1)]}, ["spec.containers[1].new"]),
        ({"initContainers": [container(new=1)]}, ["spec.initContainers[0].new"]),
        ({"affinity": {"new": {}}}, ["spec.affinity.new"]),
        (
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"new": 1}]}}},
            ["spec.affinity.podAffinity: new"],
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "new": 1}]},
            ["spec.topologySpreadConstraints: new"],
        ),
    ],
)
def test_left_out_returns_unknown_fields(spec, fields):
    assert pod_spec.left_out(pod(spec)) == fields


def test_host_metadata_ignores_tenants_metadata():
    crafted = pod(
        labels={"app": "web", "app.kubernetes.io/component": "server", "tenantry.dev/tenant": "bank"},
        annotations={"tenantry.dev/uid": "theirs", "cni.example.com/networks": "all", "big": "x" * 1_000_000},
        ownerReferences=[{"kind": "StatefulSet", "name": "server", "uid": "s"}],
        finalizers=["example.com/never"],
        generateName="web-",
    )
    metadata = pod_spec.host_pod(crafted, POD_CONTEXT)["metadata"]
    assert set(metadata) == {"name", "labels", "annotations"}
    assert metadata["annotations"] == {naming.NAMESPACE: "shop", naming.NAME: "web-0", naming.UID: "1-2-3"}
    foreign = {key for key in metadata["labels"] if not key.startswith(naming.TENANT_LABELS)}
    assert foreign == {*CONFIG.labels, naming.MANAGED_BY, naming.COMPONENT, naming.NAMESPACE_LABEL}
    assert metadata["labels"][naming.COMPONENT] == "pod"
    assert metadata["labels"]["tenantry.dev/tenant"] == "payments"
    assert len(metadata["labels"]) == len(foreign) + 3


@pytest.mark.parametrize(
    "kind",
    [
        "Ready",
        "ContainersReady",
        "PodScheduled",
        "Initialized",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "PodResizePending",
        "PodResizeInProgress",
    ],
)
def test_readiness_gates_omit_kubernetes_conditions(kind):
    assert "readinessGates" not in made({"readinessGates": [{"conditionType": kind}]})


def everywhere(name: str) -> dict:
    """Return a spec with this name in every field that references an object of the namespace."""
    environment = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": name, "key": "k"}}},
    ]
    guilty = container(env=environment, envFrom=[{"secretRef": {"name": name}}, {"configMapRef": {"name": name}}])
    sources = [
        {"secret": {"name": name}},
        {"secret": {"name": name, "secretName": name}},  # only a manipulated API server would return both
        {"configMap": {"name": name}},
        {"secret": {"name": name}, "configMap": {"name": name}},
    ]
    return {
        "initContainers": [guilty],
        "containers": [guilty],
        "imagePullSecrets": [{"name": name}, {}],
        "serviceAccountName": name,
        "serviceAccount": name,
        "volumes": [
            {"name": "a", "secret": {"secretName": name}},
            {"name": "b", "secret": {"secretName": name, "name": name}},
            {"name": "c", "configMap": {"name": name}},
            {"name": "d", "persistentVolumeClaim": {"claimName": name}},
            {"name": "e", "projected": {"sources": sources}},
            {"name": "f", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeName": name}}}},
        ],
    }


def named(value: object, key: str = "") -> list[str]:
    """Return all names of objects in a value."""
    if isinstance(value, dict):
        return [one for inner, it in value.items() for one in named(it, inner)]
    if isinstance(value, list):
        return [one for it in value for one in named(it, key)]
    return [value] if key in ("secretName", "claimName") or (key == "name" and isinstance(value, str)) else []


@pytest.mark.parametrize("name", PLATFORM_OBJECTS)
def test_host_pod_has_no_name_of_the_tenant(name):
    asked = pod(everywhere(name))
    found = made(everywhere(name))
    assert name in named(asked["spec"])
    assert name not in named(found)
    assert naming.host_name("shop", name) in named(found)
    assert found["serviceAccountName"] == "pods"
    ephemeral = pod_spec.container({**container(), **asked["spec"]["containers"][0]}, asked, POD_CONTEXT)
    assert name not in named(ephemeral)


def test_host_pod_does_not_modify_virtual_pod():
    asked, untouched = pod(everywhere("x")), pod(everywhere("x"))
    pod_spec.host_pod(asked, POD_CONTEXT)
    assert asked == untouched


def test_dropped_fields_are_those_that_the_host_does_not_know():
    desired = {
        "hostname": "a",
        "resources": {"limits": {"cpu": "1"}},
        "volumes": [],
        "containers": [{"name": "a", "env": [], "lifecycle": {"stopSignal": "SIGINT", "preStop": {"sleep": {}}}}],
    }
    created = {"hostname": "a", "containers": [{"name": "a", "lifecycle": {"preStop": {"sleep": {}}}, "tty": False}]}
    assert dict(pod_spec.dropped(desired, created)) == {
        "resources": {"limits": {"cpu": "1"}},
        "containers[0].lifecycle.stopSignal": "SIGINT",
    }
    assert list(pod_spec.dropped(desired, desired)) == []
