"""What others do beside the syncer: evictions, conditions of a tenant's controllers, successors of the same name."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import until
from .space import note
from .syncer_pair import Pair, PairSpace, syncer_pair
from .test_syncer_pods import SMALL, container, copy_of
from .test_syncer_pods import make as make_pod

EPHEMERAL = {
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "x"}
}
ROUNDS = 30


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    resources = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 50, "node_ports": 4, "load_balancers": 1}
    with syncer_pair(platform, tmp_path_factory.mktemp("beside"), resources=resources) as found:
        yield found


@pytest.fixture(scope="module")
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space("beside") as found:
        yield found


def make(space: PairSpace, name: str, **spec: Any) -> None:
    make_pod(space, name, **{"terminationGracePeriodSeconds": 1, **spec})


def conditions(pod: dict) -> dict[str, dict]:
    return {one["type"]: one for one in pod.get("status", {}).get("conditions", [])}


def set_on_host(pair: Pair, space: PairSpace, name: str, **status: Any) -> None:
    """What the kubelet of the host would say."""
    copy = until(lambda: space.found_on_host("pods", name))
    body = json.dumps({"status": status})
    pair.on_host("patch", "pod", copy["metadata"]["name"], "--subresource=status", "--type=strategic", "-p", body)


# A Job with the rule `Ignore` for this condition does not count the pod as failed.
def test_an_eviction_inside_stays_the_reason_of_the_end(pair: Pair, space: PairSpace) -> None:
    make(space, "evicted", terminationGracePeriodSeconds=600)
    pair.run_pod(space, "evicted", "10.42.0.60")
    space("wait", "pod/evicted", "--for=condition=Ready", "--timeout=30s")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": space.name}}
    path = f"/api/v1/namespaces/{space.name}/pods/evicted/eviction"
    space("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    until(lambda: copy_of(pair, space, "evicted")["metadata"].get("deletionTimestamp"))
    set_on_host(pair, space, "evicted", phase="Failed", conditions=[{"type": "Ready", "status": "False"}])
    found = until(lambda: (one := space.get("pods", "evicted"))["status"]["phase"] == "Failed" and one)
    assert conditions(found)["DisruptionTarget"]["reason"] == "EvictionByEvictionAPI"
    pair.end_pod(space, "evicted")


def test_conditions_of_a_tenants_controller_are_kept(pair: Pair, space: PairSpace) -> None:
    """It sets them while the status on the host changes all the time."""
    make(space, "judged")
    pair.run_pod(space, "judged", "10.42.0.61")
    space("wait", "pod/judged", "--for=condition=Ready", "--timeout=30s")
    copy = copy_of(pair, space, "judged")["metadata"]["name"]
    kinds = [f"example.com/seen-{number}" for number in range(ROUNDS)]
    for number, kind in enumerate(kinds):
        told = {"type": "Ready", "status": "True", "message": f"round {number}"}
        scheduled = {"type": "PodScheduled", "status": "True"}
        pair.set_status("pods", copy, {"conditions": [scheduled, told]})
        known = space.get("pods", "judged")
        mine = [*known["status"]["conditions"], {"type": kind, "status": "True"}]
        version = {"resourceVersion": known["metadata"]["resourceVersion"]}
        with contextlib.suppress(Exception):  # as a controller: a conflict is tried again below
            space.api.patch(
                "pods", space.name, "judged", {"metadata": version, "status": {"conditions": mine}}, "status"
            )
        if kind not in conditions(space.get("pods", "judged")):
            body = json.dumps({"status": {"conditions": [{"type": kind, "status": "True"}]}})
            space("patch", "pod", "judged", "--subresource=status", "--type=strategic", "-p", body)
    last = f"round {ROUNDS - 1}"
    until(lambda: conditions(space.get("pods", "judged"))["Ready"].get("message") == last)
    assert [kind for kind in kinds if kind not in conditions(space.get("pods", "judged"))] == []


def test_a_successor_does_not_get_the_ephemeral_volume_of_its_predecessor(pair: Pair, space: PairSpace) -> None:
    volumes = [{"name": "data", "ephemeral": {"volumeClaimTemplate": EPHEMERAL}}]

    def on_host() -> set[str]:
        """The UIDs inside for which the host has the claim, and pods."""
        claim = space.found_on_host("persistentvolumeclaims", "again-data")
        copies = [one for one in space.copies(pair.host, "pods") if note(one, "name") == "again"]
        return {note(one, "uid") for one in (*copies, *([claim] if claim else []))}

    def inside() -> set[str]:
        """The UIDs of the pod, and of its claim once it has its own."""
        pod = space.get("pods", "again")["metadata"]["uid"]
        (claim,) = space.api.list("persistentvolumeclaims", space.name, fieldSelector="metadata.name=again-data") or [
            {}
        ]
        owners = claim.get("metadata", {}).get("ownerReferences", [])
        return {pod, *(claim["metadata"]["uid"] for one in owners if one["uid"] == pod)}

    make(space, "again", volumes=volumes)
    until(lambda: len(inside()) == 2 and on_host() == inside())
    pair.run_pod(space, "again", "10.42.0.65")
    first = on_host()
    # No kubelet ends the first pod on the host, so its claim stays there too.
    space("delete", "pod", "again", "--force", "--grace-period=0")
    make(space, "again", volumes=volumes)
    until(lambda: len(inside()) == 2, 60)
    assert on_host() == first
    pair.end_pod(space, "again")
    until(lambda: on_host() == inside(), 30)


def test_a_claim_of_somebody_elses_is_no_ephemeral_volume(pair: Pair, space: PairSpace) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "taken-data"}, **EPHEMERAL}
    space.api.create(claim, space.name)
    make(space, "taken", volumes=[{"name": "data", "ephemeral": {"volumeClaimTemplate": EPHEMERAL}}])
    until(lambda: space.told("taken", "the claim taken-data exists and was not created for this pod"))
    assert not space.found_on_host("pods", "taken")


def token_of(pair: Pair, space: PairSpace, name: str) -> dict:
    """The claims of the token that the pod mounts."""
    copy = copy_of(pair, space, name)
    (volume,) = (one for one in copy["spec"]["volumes"] if one["name"].startswith("kube-api-access-"))
    (source,) = (
        one["secret"] for one in volume["projected"]["sources"] if "tokens" in one.get("secret", {}).get("name", "")
    )
    secret = pair.host_api.get("secrets", pair.namespace, source["name"])
    payload = base64.b64decode(secret["data"][source["items"][0]["key"]]).split(b".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + b"=="))["kubernetes.io"]


def test_a_token_names_the_node_once_the_host_has_chosen_one(pair: Pair, space: PairSpace) -> None:
    make(space, "knows")
    assert "node" not in token_of(pair, space, "knows")
    pair.run_pod(space, "knows", "10.42.0.62")
    claims_ = until(lambda: (one := token_of(pair, space, "knows")).get("node") and one)
    node = json.loads(space("get", "node", claims_["node"]["name"], "-o", "json"))
    assert claims_["node"]["uid"] == node["metadata"]["uid"]
    assert claims_["pod"]["uid"] == space.get("pods", "knows")["metadata"]["uid"]


def test_a_token_that_the_api_server_refuses_is_reported(pair: Pair, space: PairSpace) -> None:
    pair.stop_syncer()
    space("create", "serviceaccount", "gone")
    make(space, "waits", serviceAccountName="gone")
    space("delete", "serviceaccount", "gone")
    pair.start_syncer()
    until(lambda: space.told("waits", 'serviceaccounts "gone" not found'))


# In-place resize: what the kubelet says of it.
def test_the_progress_of_a_resize_is_shown(pair: Pair, space: PairSpace) -> None:
    make(space, "grows")
    pair.run_pod(space, "grows", "10.42.0.63")
    space("wait", "pod/grows", "--for=condition=Ready", "--timeout=30s")
    more = {"limits": {"cpu": "150m", "memory": "48Mi"}, "requests": SMALL["requests"]}
    body = json.dumps({"spec": {"containers": [{"name": "a", "resources": more}]}})
    space("patch", "pod", "grows", "--subresource=resize", "--type=strategic", "-p", body)
    until(lambda: copy_of(pair, space, "grows")["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "150m")

    def told(kind: str, resources: dict, **status: str) -> None:
        container_status = {"name": "a", "image": "x", "imageID": "", "ready": True, "restartCount": 0}
        container_status |= {"resources": resources, "allocatedResources": SMALL["requests"]}
        resizing = [{"type": kind, "status": "True", **status}] if kind else []
        given = {
            "containerStatuses": [container_status],
            "conditions": [{"type": "Ready", "status": "True"}, *resizing],
        }
        pair.set_status("pods", copy_of(pair, space, "grows")["metadata"]["name"], given)

        def same() -> bool:
            found = space.get("pods", "grows")
            (shown,) = found["status"].get("containerStatuses", [{}])
            kinds = {one for one in conditions(found) if one.startswith("PodResize")}
            same_resources = (shown.get("resources"), shown.get("allocatedResources")) == (resources, SMALL["requests"])
            return same_resources and kinds == ({kind} if kind else set())

        until(same)

    told("PodResizePending", SMALL, reason="Deferred", message="Node didn't have enough resource: cpu")
    assert conditions(space.get("pods", "grows"))["PodResizePending"]["reason"] == "Deferred"
    told("PodResizeInProgress", {**SMALL, "limits": {"cpu": "150m", "memory": "32Mi"}})
    told("", more)


def test_the_time_on_a_lost_node_can_be_shortened(pair: Pair, space: PairSpace) -> None:
    make(space, "hasty")
    copy_of(pair, space, "hasty")
    given = space.get("pods", "hasty")["spec"]["tolerations"]
    shorter = [{**one, "tolerationSeconds": 7} for one in given]
    space("patch", "pod", "hasty", "--type=merge", "-p", json.dumps({"spec": {"tolerations": shorter}}))
    until(lambda: {one.get("tolerationSeconds") for one in copy_of(pair, space, "hasty")["spec"]["tolerations"]} == {7})


def test_a_balancer_of_a_class_is_left_to_its_controller(pair: Pair, space: PairSpace) -> None:
    ports = [{"port": 80}]
    spec = {"type": "LoadBalancer", "loadBalancerClass": "example.com/internal", "selector": {"a": "b"}, "ports": ports}
    space.api.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "internal"}, "spec": spec}, space.name
    )
    until(lambda: space.told("internal", "spec.loadBalancerClass: not passed on"))
    assert until(lambda: space.found_on_host("services", "internal"))["spec"]["type"] == "ClusterIP"
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}
    space.api.patch("services", space.name, "internal", address, "status")
    space.api.patch("services", space.name, "internal", {"spec": {"ports": [{"port": 81}]}})
    until(lambda: space.found_on_host("services", "internal")["spec"]["ports"][0]["port"] == 81)
    assert space.get("services", "internal")["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.7"


def test_what_the_syncer_adds_for_the_hosts_file_is_not_shown(pair: Pair, space: PairSpace) -> None:
    pair.restart_syncer(hosts_image="docker.io/lab/syncer:1")
    make(space, "member", hostname="zk-1", subdomain="zk")
    pair.run_pod(space, "member", "10.42.0.64")
    mounts = [{"name": "tenantry-hosts", "mountPath": "/etc/hosts"}]
    shown = {"name": "a", "image": "x", "imageID": "", "ready": True, "restartCount": 0, "volumeMounts": mounts}
    message = "containers with incomplete status: [tenantry-hosts]"
    waiting = {"type": "Initialized", "status": "False", "message": message}
    set_on_host(pair, space, "member", containerStatuses=[shown], conditions=[waiting])
    until(lambda: conditions(space.get("pods", "member")).get("Initialized", {}).get("status") == "False")
    assert "tenantry-hosts" not in json.dumps(space.get("pods", "member")["status"])
    pair.restart_syncer()


def test_a_token_with_a_strict_mode_is_readable_for_the_pods_user(pair: Pair, space: PairSpace) -> None:
    token = {"serviceAccountToken": {"path": "token"}}
    volume = {"name": "strict", "projected": {"defaultMode": 0o400, "sources": [token]}}
    make(space, "strict", volumes=[volume], containers=[container()], securityContext={"runAsUser": 1000})
    (there,) = (one for one in copy_of(pair, space, "strict")["spec"]["volumes"] if one["name"] == "strict")
    assert there["projected"]["sources"][0]["secret"]["items"][0]["mode"] == 0o444
