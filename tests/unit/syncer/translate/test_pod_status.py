from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import messages, pod_status

from ..objects import container, pod

NOW = "2026-01-01T00:00:00Z"


def host(status: dict, **metadata: object) -> dict:
    notes = {naming.NAMESPACE: "shop", naming.NAME: "web-0", naming.UID: "1-2-3"}
    known = {"name": "web-0-shop-77", "labels": {naming.MANAGED_BY: naming.SYNCER}, "annotations": notes}
    return {"metadata": {**known, **metadata}, "spec": {}, "status": status}


def status_of(given: dict, virtual: dict | None = None, **metadata: object) -> dict:
    virtual, there = virtual or pod(), host(given, **metadata)
    return pod_status.translated(
        virtual, there, lambda text: messages.to_virtual(text, there, virtual, "payments--dev")
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "Running"),
        ("reason", "Evicted"),
        ("podIP", "10.42.0.9"),
        ("podIPs", [{"ip": "10.42.0.9"}]),
        ("startTime", NOW),
        ("hostIP", "192.0.2.1"),
    ],
)
def test_translated_passes_field_unchanged(field, value):
    assert status_of({field: value}) == {field: value, "conditions": []}


@pytest.mark.parametrize("field", ["qosClass", "nominatedNodeName", "resourceClaimStatuses", "somethingNew"])
def test_translated_omits_field(field):
    assert status_of({field: "x"}) == {"conditions": []}


def test_translated_messages_have_virtual_names():
    text = 'pod "web-0-shop-77" in namespace "payments--dev"'
    state = {"waiting": {"reason": "ImagePullBackOff", "message": text}}
    status = status_of(
        {
            "message": text,
            "conditions": [{"type": "Ready", "status": "False", "message": text, "observedGeneration": 9}],
            "containerStatuses": [{"name": "web", "state": state, "lastState": {"terminated": {"message": text}}}],
        }
    )
    assert "payments--dev" not in str(status)
    assert "web-0-shop-77" not in str(status)
    assert status["conditions"] == [{"type": "Ready", "status": "False", "message": 'pod "web-0" in namespace "shop"'}]


def test_translated_omits_added_containers():
    virtual = pod({"initContainers": [container(name="first")], "ephemeralContainers": [container(name="debug")]})
    given = [{"name": name} for name in ("web", "first", "debug", "mesh-proxy")]
    status = status_of(
        dict.fromkeys(("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"), given), virtual
    )
    assert [one["name"] for one in status["containerStatuses"]] == ["web"]
    assert [one["name"] for one in status["initContainerStatuses"]] == ["first"]
    assert [one["name"] for one in status["ephemeralContainerStatuses"]] == ["debug"]


def test_translated_shows_default_limits_not_requests():
    limits, requests = {"cpu": "1", "memory": "128Mi"}, {"cpu": "1", "memory": "64Mi"}
    given = {"name": "web", "allocatedResources": requests, "resources": {"limits": limits, "requests": requests}}

    def resources_of(asked: dict) -> tuple[dict, dict]:
        status = status_of({"containerStatuses": [given]}, pod({"containers": [container(resources=asked)]}))
        return status["containerStatuses"][0]["allocatedResources"], status["containerStatuses"][0]["resources"]

    assert resources_of({}) == ({}, {"limits": limits, "requests": {}})
    assert resources_of({"requests": {"cpu": "1"}}) == ({"cpu": "1"}, {"limits": limits, "requests": {"cpu": "1"}})
    assert resources_of({"limits": limits, "requests": requests}) == (
        requests,
        {"limits": limits, "requests": requests},
    )


@pytest.mark.parametrize(
    ("asked", "ended", "message"),
    [
        ({}, {"reason": "OOMKilled"}, "memory limit 128Mi: the default of the virtual cluster. Set resources.limits"),
        ({"limits": {"cpu": "1"}}, {"reason": "OOMKilled"}, "memory limit 128Mi: the default"),
        ({"limits": {"memory": "128Mi"}}, {"reason": "OOMKilled"}, ""),
        ({}, {"reason": "Error"}, ""),
        ({}, {"reason": "OOMKilled", "message": "its own last words"}, "its own last words"),
    ],
)
@pytest.mark.parametrize("state", ["state", "lastState"])
def test_translated_explains_oom_kill_by_default_limit(asked, ended, message, state):
    given = {"name": "web", "resources": {"limits": {"memory": "128Mi"}}, state: {"terminated": ended}}
    status = status_of({"containerStatuses": [given]}, pod({"containers": [container(resources=asked)]}))
    found = status["containerStatuses"][0][state]["terminated"].get("message", "")
    assert found.startswith(message)
    assert bool(found) == bool(message)


def test_translated_observed_generation_is_virtual():
    assert status_of({"observedGeneration": 2}, pod(generation=5), generation=2)["observedGeneration"] == 5
    assert "observedGeneration" not in status_of({"observedGeneration": 1}, pod(generation=5), generation=2)


def gated(kind: str, **condition: object) -> dict:
    virtual = pod({"readinessGates": [{"conditionType": kind}]})
    virtual["status"] = {"conditions": [{"type": kind, "status": "True", **condition}]}
    return virtual


def test_readiness_gates_are_synced_to_host_only():
    virtual = gated("example.com/ready", reason="Because", **{"$patch": "replace", "x": 1})
    condition = {"type": "example.com/ready", "status": "True", "reason": "Because"}
    assert pod_status.gate_conditions(virtual, host({})) == [condition]
    assert pod_status.gate_conditions(virtual, host({"conditions": [condition]})) == []
    up = status_of({"conditions": [{**condition, "status": "False"}, {"type": "Ready", "status": "True"}]}, virtual)
    assert [(one["type"], one["status"]) for one in up["conditions"]] == [
        ("Ready", "True"),
        ("example.com/ready", "True"),
    ]


def test_translated_keeps_own_conditions_only():
    virtual = pod()
    virtual["status"] = {
        "conditions": [{"type": "example.com/seen", "status": "True"}, {"type": "Ready", "status": "True"}]
    }
    up = status_of(
        {"conditions": [{"type": "Ready", "status": "False"}, {"type": "host.example/x", "status": "True"}]}, virtual
    )
    assert [(one["type"], one["status"]) for one in up["conditions"]] == [
        ("Ready", "False"),
        ("example.com/seen", "True"),
    ]


@pytest.mark.parametrize("kind", ["Ready", "PodScheduled", "DisruptionTarget", "ContainersReady"])
def test_gate_conditions_omit_kubernetes_conditions(kind):
    virtual = gated(kind)
    assert pod_status.gate_conditions(virtual, host({"conditions": [{"type": kind, "status": "False"}]})) == []
    assert status_of({"conditions": [{"type": kind, "status": "False"}]}, virtual)["conditions"][0]["status"] == "False"


@pytest.mark.parametrize(
    ("current", "wanted", "patch"),
    [
        ({}, {"phase": "Running"}, {"phase": "Running"}),
        ({"phase": "Running"}, {"phase": "Running"}, None),
        ({"phase": "Running", "qosClass": "Burstable", "observedGeneration": 1}, {"phase": "Running"}, None),
        ({"phase": "Running", "message": "crafted"}, {"phase": "Running"}, {"message": None}),
        ({"conditions": [{"type": "A", "probe": None}]}, {"conditions": [{"type": "A"}]}, None),
        ({}, {"podIPs": [{"ip": "1"}]}, {"podIPs": [{"$patch": "replace"}, {"ip": "1"}]}),
        (
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
            {"resources": {"limits": {"cpu": "2"}}},
            {"resources": {"limits": {"cpu": "2", "memory": None}}},
        ),
    ],
)
def test_patch(current, wanted, patch):
    assert pod_status.patch({"status": current}, wanted) == patch


def test_patch_has_only_conditions_that_differ():
    """Others may set conditions of their own meanwhile."""
    own, ready = {"type": "example.com/seen", "status": "True"}, {"type": "Ready", "status": "False", "message": "x"}
    current = [own, ready, {"type": "PodResizePending", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
    wanted = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}, own]
    assert pod_status.patch({"status": {"conditions": current}}, {"conditions": wanted}) == {
        "conditions": [
            {"type": "Ready", "status": "True", "message": None},
            {"$patch": "delete", "type": "PodResizePending"},
        ]
    }


@pytest.mark.parametrize(("on_host", "reason"), [([], "EvictionByEvictionAPI"), (["TerminationByKubelet"], None)])
def test_translated_keeps_disruption_inside_unless_host_has_one(on_host: list[str], reason: str | None):
    virtual = pod()
    virtual["status"] = {"conditions": [{"type": "DisruptionTarget", "reason": "EvictionByEvictionAPI"}]}
    given = [{"type": "DisruptionTarget", "reason": one} for one in on_host]
    (condition,) = status_of({"conditions": given}, virtual)["conditions"]
    assert condition["reason"] == (reason or on_host[0])


def test_translated_omits_container_and_mount_of_hosts_file():
    words = "containers with incomplete status: [tenantry-hosts first]"
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("data", "tenantry-hosts")]
    virtual = pod({"containers": [container(volumeMounts=mounts[:1])]})
    status = status_of(
        {
            "conditions": [{"type": "Initialized", "message": words}],
            "containerStatuses": [{"name": "web", "volumeMounts": mounts}],
        },
        virtual,
    )
    assert status["conditions"][0]["message"] == "containers with incomplete status: [first]"
    assert status["containerStatuses"][0]["volumeMounts"] == mounts[:1]
