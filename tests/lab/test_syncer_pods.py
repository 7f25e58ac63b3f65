"""What of a tenant's pods reaches the host, and what of it does not: between two API servers, without nodes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer

from .harness import until
from .space import name_inside
from .syncer_pair import Pair, PairSpace

SMALL = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}
DEFAULTS = {"limits": {"cpu": "100m", "memory": "128Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}
MODES = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")


@pytest.fixture(scope="module")
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space("pods") as found:
        yield found


@pytest.fixture
def pod(space: PairSpace) -> Iterator[str]:
    """The name of a pod of the test's own, which takes nothing of the quota afterwards."""
    name = f"pod-{uuid.uuid4().hex[:8]}"
    yield name
    space("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found")


def container(**fields: Any) -> dict:
    return {"name": "a", "image": "docker.io/lab/web:1", "resources": SMALL, **fields}


def make(space: PairSpace, name: str, labels: dict | None = None, **spec: Any) -> None:
    metadata = {"name": name, "labels": labels or {"app": "web"}}
    spec = {"containers": [container()], **spec}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def without_disk(resources: dict) -> dict:
    """Every container has a limit of it, which is none of the pod's."""
    return {
        kind: {name: amount for name, amount in amounts.items() if name != "ephemeral-storage"}
        for kind, amounts in resources.items()
    }


def copy_of(pair: Pair, space: PairSpace, name: str) -> dict:
    return until(lambda: space.copy_of(pair.host, "pods", name), 30)


# What the API server inside works into selectors must not be asked of the host once more.
@pytest.mark.parametrize("keys", ["matchLabelKeys", "mismatchLabelKeys"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
def test_label_keys_of_affinity(pair: Pair, space: PairSpace, pod: str, kind: str, mode: str, keys: str) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}, keys: ["v"]}
    one = term if mode == MODES[0] else {"weight": 1, "podAffinityTerm": term}
    make(space, pod, {"app": "web", "v": "1"}, affinity={kind: {mode: [one]}})
    copy_of(pair, space, pod)


@pytest.mark.parametrize("selector", [{"matchLabels": {"app": "web"}}, {}])
def test_label_keys_of_spreading(pair: Pair, space: PairSpace, pod: str, selector: dict) -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
        "matchLabelKeys": ["v"],
    }
    make(space, pod, {"app": "web", "v": "1"}, topologySpreadConstraints=[constraint])
    copy_of(pair, space, pod)


def test_what_admission_works_into_a_pod_is_asked_of_the_host_once(pair: Pair, space: PairSpace, pod: str) -> None:
    """Priority, runtime class, account, limit range and tolerations: each is taken as it is, or decided."""
    cluster = f"once-{pod}"
    scheduling_of_class = {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "sandboxed", "operator": "Exists"}],
    }
    amounts = {"cpu": "20m", "memory": "20Mi"}
    usual = {"type": "Container", "default": amounts, "defaultRequest": {"cpu": "10m", "memory": "10Mi"}}
    named = {"metadata": {"name": cluster}}
    space.create(
        {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **named,
            "value": 7000, "preemptionPolicy": "Never",
        },
        {
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", **named, "handler": "sandbox",
            "overhead": {"podFixed": {"cpu": "250m"}}, "scheduling": scheduling_of_class,
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", **named, "imagePullSecrets": [{"name": "registry"}]},
        {"apiVersion": "v1", "kind": "LimitRange", **named, "spec": {"limits": [usual]}},
    )  # fmt: skip
    try:
        make(
            space, pod, containers=[container(resources={})],
            priorityClassName=cluster, runtimeClassName=cluster, serviceAccountName=cluster,
        )  # fmt: skip
        inside, spec = space.json("pod", pod)["spec"], copy_of(pair, space, pod)["spec"]
    finally:
        space("delete", "priorityclass,runtimeclass", cluster)
        space("delete", "limitrange", cluster)
    # The control: admission did it inside.
    assert (inside["priority"], inside["preemptionPolicy"], inside["overhead"]) == (7000, "Never", {"cpu": "250m"})
    assert {"key": "sandboxed", "operator": "Exists"} in inside["tolerations"]
    assert inside["imagePullSecrets"] == [{"name": "registry"}]
    (token,) = [one for one in inside["volumes"] if one["name"].startswith("kube-api-access-")]
    # What the host makes of it.
    assert spec["priorityClassName"] == syncer.config(pair.rendering)["priority_class"]
    assert spec["priority"] != 7000
    assert not {"overhead", "runtimeClassName"} & set(spec)
    assert {one["key"] for one in spec["tolerations"]} == {
        f"node.kubernetes.io/{one}" for one in ("not-ready", "unreachable")
    }
    assert spec["nodeSelector"] == scheduling_of_class["nodeSelector"]
    assert len(spec["imagePullSecrets"]) == 1
    assert spec["imagePullSecrets"] != inside["imagePullSecrets"]
    assert without_disk(spec["containers"][0]["resources"]) == {"limits": amounts, "requests": usual["defaultRequest"]}
    assert [one["name"] for one in spec["volumes"]] == [token["name"]]
    assert spec["serviceAccountName"] == "pods"


@pytest.mark.parametrize(
    ("resources", "given"),
    [
        ({}, DEFAULTS),
        (
            {"requests": {"memory": "256Mi"}},
            {"limits": {"cpu": "100m", "memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "256Mi"}},
        ),
        (
            {"limits": {"cpu": "1"}},
            {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
        ),
    ],
)  # fmt: skip
def test_what_is_left_open_contradicts_nothing(
    pair: Pair, space: PairSpace, pod: str, resources: dict, given: dict
) -> None:
    make(space, pod, containers=[container(resources=resources)])
    assert without_disk(copy_of(pair, space, pod)["spec"]["containers"][0]["resources"]) == given


@pytest.mark.parametrize(
    ("whole", "limits"),
    [
        ({"limits": {"cpu": "100m", "memory": "100Mi"}}, {"cpu": "100m", "memory": "100Mi"}),
        ({"requests": {"cpu": "1m", "memory": "512Mi"}}, {"cpu": "200m", "memory": "512Mi"}),
        ({"requests": {"cpu": "1m"}}, {"cpu": "200m"}),
    ],
)
def test_limits_of_the_pod_as_a_whole(pair: Pair, space: PairSpace, pod: str, whole: dict, limits: dict) -> None:
    make(space, pod, resources=whole, containers=[container(resources={}), container(name="b", resources={})])
    spec = copy_of(pair, space, pod)["spec"]
    # From Kubernetes 1.36 on, the host adds what the limits of the containers come to.
    sums = {"cpu": "400m", "memory": "256Mi"}
    assert spec["resources"]["limits"] in (limits, {**sums, **limits})
    own = {name: amount for name, amount in DEFAULTS["limits"].items() if name not in limits}
    assert [without_disk(one["resources"]).get("limits", {}) for one in spec["containers"]] == [own, own]


def test_the_quota_counts_a_pod_with_limits_as_a_whole(pair: Pair, space: PairSpace, pod: str) -> None:
    """The host asks such a pod for no other limits: what it leaves open must be filled in, or nothing limits it."""

    def used() -> str:
        return pair.on_host("get", "resourcequota", "vcluster", "-o", "jsonpath={.status.used['limits\\.memory']}")

    before = used()
    make(space, pod, resources={"requests": {"cpu": "1m"}}, containers=[container(resources={})])
    copy_of(pair, space, pod)
    until(lambda: used() != before, 30)


# A part that the host refuses keeps no other part away.
REFUSED_DEBUGGER = {
    "name": "debugger",
    "image": "docker.io/lab/web:1",
    "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},  # as by kubectl debug --profile=general
}


def debug(space: PairSpace, name: str, *containers: dict) -> None:
    body = json.dumps({"spec": {"ephemeralContainers": list(containers)}})
    space("patch", "pod", name, "--subresource=ephemeralcontainers", "--type=strategic", "-p", body)


def test_a_refused_ephemeral_container_keeps_nothing_else_away(pair: Pair, space: PairSpace) -> None:
    make(space, "dbg", readinessGates=[{"conditionType": "example.com/ready"}], activeDeadlineSeconds=10_000)
    pair.run_pod(space, "dbg", "10.42.0.78")
    space("wait", "pod/dbg", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    debug(space, "dbg", REFUSED_DEBUGGER)
    assert "SYS_PTRACE" in space.warning("dbg")
    debug(space, "dbg", {"name": "harmless", "image": "docker.io/lab/web:1"})
    space("label", "pod", "dbg", "seen=true")
    space("patch", "pod", "dbg", "--type=merge", "-p", json.dumps({"spec": {"activeDeadlineSeconds": 5000}}))
    image = {"spec": {"containers": [{"name": "a", "image": "docker.io/lab/web:2"}]}}
    space("patch", "pod", "dbg", "--type=strategic", "-p", json.dumps(image))
    more = {"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "7m"}}}]}}
    space("patch", "pod", "dbg", "--subresource=resize", "--type=strategic", "-p", json.dumps(more))
    gate = {"status": {"conditions": [{"type": "example.com/ready", "status": "True"}]}}
    space("patch", "pod", "dbg", "--subresource=status", "--type=strategic", "-p", json.dumps(gate))

    def there() -> dict:
        copy = copy_of(pair, space, "dbg")
        spec = copy["spec"]
        conditions = {one["type"]: one["status"] for one in copy["status"]["conditions"]}
        return {
            "debug": [one["name"] for one in spec.get("ephemeralContainers", [])],
            "label": copy["metadata"]["labels"].get("x.tenantry.dev/seen"),
            "deadline": spec["activeDeadlineSeconds"],
            "image": spec["containers"][0]["image"],
            "cpu": spec["containers"][0]["resources"]["requests"]["cpu"],
            "gate": conditions.get("example.com/ready"),
        }

    wanted = {
        "debug": ["harmless"],
        "label": "true",
        "deadline": 5000,
        "image": "docker.io/lab/web:2",
        "cpu": "7m",
        "gate": "True",
    }
    until(lambda: there() == wanted, 30)


def test_a_refused_resize_keeps_no_gate_away_and_is_tried_again(pair: Pair, space: PairSpace) -> None:
    make(space, "big", readinessGates=[{"conditionType": "example.com/ready"}])
    pair.run_pod(space, "big", "10.42.0.79")
    space("wait", "pod/big", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")

    def resize(cpu: str) -> None:
        body = {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": cpu}}}]}}
        space("patch", "pod", "big", "--subresource=resize", "--type=strategic", "-p", json.dumps(body))

    resize("64")
    assert "exceeded quota" in space.warning("big")
    gate = {"status": {"conditions": [{"type": "example.com/ready", "status": "True"}]}}
    space("patch", "pod", "big", "--subresource=status", "--type=strategic", "-p", json.dumps(gate))
    until(lambda: '"example.com/ready"' in json.dumps(copy_of(pair, space, "big")["status"]), 30)
    resize("200m")
    until(lambda: copy_of(pair, space, "big")["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "200m", 30)


# Deletion by force. No kubelet answers here, as on a node that is lost.
@pytest.mark.parametrize("ending", [False, True], ids=["that runs", "that is ending"])
def test_a_pod_deleted_by_force_frees_its_name(pair: Pair, space: PairSpace, pod: str, ending: bool) -> None:
    make(space, pod, terminationGracePeriodSeconds=600)
    pair.run_pod(space, pod, "10.42.0.80")
    space("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=30s")
    first = copy_of(pair, space, pod)["metadata"]["uid"]
    if ending:
        space("delete", "pod", pod, "--wait=false")
        until(lambda: copy_of(pair, space, pod)["metadata"].get("deletionTimestamp"), 30)
    space("delete", "pod", pod, "--force", "--grace-period=0")
    make(space, pod)

    def copies() -> dict[str, dict]:
        return {one["metadata"]["uid"]: one for one in space.copies(pair.host, "pods") if name_inside(one) == pod}

    until(lambda: len(copies()) == 2, 30)
    # No second pod comes for nothing: the quota counts the first until it has ended.
    assert copies()[first]["metadata"]["deletionGracePeriodSeconds"] == 1
    (second,) = set(copies()) - {first}
    pair.on_host("delete", "pod", copies()[first]["metadata"]["name"], "--force", "--grace-period=0")
    pair.run_pod(space, pod, "10.42.0.82")
    space("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=30s")
    assert set(copies()) == {second}


def test_a_running_deletion_is_shortened(pair: Pair, space: PairSpace) -> None:
    make(space, "slow", terminationGracePeriodSeconds=600)
    pair.run_pod(space, "slow", "10.42.0.81")
    space("wait", "pod/slow", "--for=condition=Ready", "--timeout=30s")
    for asked in (500, 20, 3):
        space("delete", "pod", "slow", "--wait=false", f"--grace-period={asked}")
        until(lambda: copy_of(pair, space, "slow")["metadata"].get("deletionGracePeriodSeconds") == asked, 30)  # noqa: B023


# Words.
def test_events_of_the_host_name_what_the_pod_names(pair: Pair, space: PairSpace) -> None:
    make(
        space, "reader",
        containers=[container(envFrom=[{"secretRef": {"name": "credentials"}}])],
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        imagePullSecrets=[{"name": "registry"}],
    )  # fmt: skip
    copy = copy_of(pair, space, "reader")
    spec = copy["spec"]
    on_host = [
        spec["containers"][0]["envFrom"][1]["secretRef"]["name"],  # after the variables of services
        spec["volumes"][0]["persistentVolumeClaim"]["claimName"],
        spec["imagePullSecrets"][0]["name"],
    ]
    message = (
        f"{' '.join(on_host)}; Secret {pair.namespace}/{on_host[0]}: pod={copy['metadata']['name']}_{pair.namespace}"
    )
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "said-by-a-kubelet"},
        "involvedObject": {"kind": "Pod", **{key: copy["metadata"][key] for key in ("name", "namespace", "uid")}},
        "type": "Warning",
        "reason": "Failed",
        "message": message,
        "source": {"component": "kubelet"},
    }  # fmt: skip
    pair.on_host("create", "-f", "-", stdin=json.dumps(event))
    wanted = f"credentials data registry; Secret {space.name}/credentials: pod=reader_{space.name}"
    until(lambda: wanted in space.warning("reader"), 30)
    waiting = {"name": "a", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    waiting["state"] = {
        "waiting": {"reason": "CreateContainerConfigError", "message": f'secret "{on_host[0]}" not found'}
    }
    status = {"status": {"containerStatuses": [waiting]}}
    name = copy["metadata"]["name"]
    pair.on_host("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    path = "jsonpath={.status.containerStatuses[0].state.waiting.message}"
    until(lambda: space("get", "pod", "reader", "-o", path) == 'secret "credentials" not found', 30)


# Names.
@pytest.mark.parametrize(
    ("name", "spec", "hostname"),
    [
        ("dotted.pod.name", {}, "dotted.pod.name"),
        ("fqdn", {"hostname": "zk-1", "subdomain": "zk", "setHostnameAsFQDN": True}, "zk-1.zk.{}.svc.cluster.local"),
    ],
)
def test_a_host_name_that_the_host_cannot_give_is_reported(
    pair: Pair, space: PairSpace, name: str, spec: dict, hostname: str
) -> None:
    make(space, name, **spec)
    copy = copy_of(pair, space, name)
    if "hostnameOverride" in copy["spec"]:  # Kubernetes 1.35
        assert copy["spec"]["hostnameOverride"] == hostname.format(space.name)
    else:
        assert f"Its value would be {hostname.format(space.name)}." in space.warning(name)


@pytest.mark.parametrize("length", [52, 63, 200, 253])
def test_names_of_any_length(pair: Pair, space: PairSpace, length: int) -> None:
    make(space, "n" * length)
    copy = copy_of(pair, space, "n" * length)
    assert copy["spec"]["hostname"] == "n" * min(length, 63)
    space("delete", "pod", "n" * length, "--force", "--grace-period=0")
