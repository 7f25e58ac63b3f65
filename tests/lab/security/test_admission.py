"""What nobody does to the platform's objects on a host, whatever RBAC lets him do.

The stranger here has every right on everything that hosts have; by RBAC, no request of his is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness import call_module, kubectl, ran, until
from ..people import add_vcluster, await_policy, labels_of
from .hosted import (
    APPS,
    CONTAINER,
    COPY,
    DEFAULT,
    DENIED,
    HERE,
    NETWORKING,
    OURS,
    POLICIES,
    RBAC,
    SPACE,
    Change,
    Host,
    account,
    everything,
    host_of,
    labelled,
    made,
    merged,
    meta,
    remove_accounts,
)
from .sweep import JSON_PATCH, Request, answer_of
from .syncer_changes import COPIES, hashed

WALLS = f"{NETWORKING}/namespaces/{{}}/networkpolicies"
OPEN = {"podSelector": {}, "ingress": [{}], "egress": [{}]}
NOW = {"lastTransitionTime": "2026-01-01T00:00:00Z"}


def workload(kind: str, path: str) -> Change:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
    return made(kind, path, api="apps/v1", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template})


TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}

STRANGERS = {
    "a namespace's Pod Security": merged(f"/api/v1/namespaces/{SPACE}", labelled(**PRIVILEGED)),
    "a namespace's label away": merged(
        f"/api/v1/namespaces/{SPACE}", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    ),
    "a virtual cluster's record": merged(
        f"/api/v1/namespaces/{SPACE}", {"metadata": {"annotations": {"tenantry.dev/spec": "mine"}}}
    ),
    "a namespace gone": Change("DELETE", f"/api/v1/namespaces/{SPACE}"),
    "a forged virtual cluster": Change(
        "POST",
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("a--b", labels_of("a", "b"))},
    ),
    "the tenant's home": merged("/api/v1/namespaces/tenant-payments", labelled(**PRIVILEGED)),
    "the quota": merged("/api/v1/namespaces/tenant-payments/configmaps/tenant", {"data": {"quota": "{}"}}),
    "the resources": merged(f"{HERE}/resourcequotas/vcluster", {"spec": {"hard": {"pods": "1000"}}}),
    "the resources's status": merged(f"{HERE}/resourcequotas/vcluster/status", {"status": {"used": {"pods": "0"}}}),
    "a secret gone": Change("DELETE", f"{HERE}/secrets/join-token"),
    "all secrets gone": Change("DELETE", f"{HERE}/secrets"),
    "the server's image": Change(
        "PATCH",
        f"{APPS}/namespaces/{SPACE}/statefulsets/server",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mine"}],
        JSON_PATCH,
    ),
    "the server scaled": merged(f"{APPS}/namespaces/{SPACE}/statefulsets/server/scale", {"spec": {"replicas": 0}}),
    "the API's selector": merged(f"{HERE}/services/api", {"spec": {"selector": {"app": "mine"}}}),
    "the API's owner": merged(
        f"{HERE}/services/api",
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}},
    ),
    "the roles of people": Change(
        "PATCH",
        f"{RBAC}/clusterroles/tenantry:viewer",
        [{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}}],
        JSON_PATCH,
    ),
    "a priority class gone": Change("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/tenantry-prod"),
    "a forged object": made("ConfigMap", f"{DEFAULT}/configmaps", labels=OURS),
    "a label on something else": merged(f"{DEFAULT}/configmaps/kube-root-ca.crt", labelled(**OURS)),
    "an open wall": made("NetworkPolicy", WALLS.format(SPACE), api="networking.k8s.io/v1", spec=OPEN),
    "a pod beside the server": made("Pod", f"{HERE}/pods", spec={"containers": [CONTAINER]}),
    "a workload beside the server": workload("Deployment", f"{APPS}/namespaces/{SPACE}/deployments"),
    "a token of the syncer": Change("POST", f"{HERE}/serviceaccounts/syncer/token", TOKEN),
}

# The same stranger, where nothing is the platform's, and what controllers of a host do to any object of a kind.
HARMLESS = {
    "an object of one's own": made("ConfigMap", f"{DEFAULT}/configmaps"),
    "a wall of one's own": made("NetworkPolicy", WALLS.format("default"), api="networking.k8s.io/v1", spec=OPEN),
    "a workload of one's own": workload("Deployment", f"{APPS}/namespaces/default/deployments"),
    "a namespace of one's own": Change(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("mine")}
    ),
    "a note on a service": merged(
        f"{HERE}/services/api",
        {"metadata": {"annotations": {"balancer": "x"}, "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}},
    ),
    "a service's status": merged(
        f"{HERE}/services/api/status",
        {"status": {"conditions": [{"type": "Up", "status": "True", "reason": "Up", "message": "", **NOW}]}},
    ),
    "a note on a namespace": merged(
        f"/api/v1/namespaces/{SPACE}", {"metadata": {"annotations": {"openshift.io/sa.scc.uid-range": "1/2"}}}
    ),
}


@pytest.fixture(scope="module")
def host(platform: Path) -> Iterator[Host]:
    with host_of(platform) as found:
        yield found


def test_the_statefulset_controller_and_others_go_on(host: Host) -> None:
    """Pods with the platform's label are made and ended, endpoints told: by the controllers of the host."""
    found = until(lambda: json.loads(ran(host.kubeconfig, "get", "pods", "-n", SPACE, "-o", "json"))["items"], 20)
    assert found[0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tenantry.kube"
    slices = ("get", "endpointslices", "-n", SPACE, "-l", "app.kubernetes.io/managed-by=tenantry.kube", "-o", "name")
    assert until(lambda: ran(host.kubeconfig, *slices), 20)
    used = ("get", "resourcequota", "vcluster", "-n", SPACE, "-o", "jsonpath={.status.used.pods}")
    until(lambda: ran(host.kubeconfig, *used) == "2", 20)


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_is_refused_what_an_administrator_may(host: Host, what: str) -> None:
    status, text = STRANGERS[what].by(host.stranger)
    assert (status, DENIED in text, "only the platform and users" in text) == (403, True, True), text
    status, text = STRANGERS[what].by(host.admin)
    assert status in (200, 201), text


@pytest.mark.parametrize("what", HARMLESS)
def test_a_stranger_may_what_is_not_the_platforms(host: Host, what: str) -> None:
    status, text = HARMLESS[what].by(host.stranger)
    assert status in (200, 201), text


def test_a_connection_to_the_server_is_the_platforms(host: Host) -> None:
    """CONNECT knows no dry run; without a node, who may gets no further than that."""
    for way in ("exec?command=id&stdout=1", "attach?stdout=1", "portforward"):
        path = f"{HERE}/pods/server-0/{way}"
        answers = {
            name: answer_of(who, Request("GET", path, None, path))
            for name, who in {"stranger": host.stranger, "admin": host.admin}.items()
        }
        assert "only the platform and users" in answers["stranger"][1], answers
        # By a port of the server, the syncer reads the CA of the API inside.
        refused = ("etcd-0",) if way == "portforward" else ("server-0", "etcd-0")
        for pod in ("server-0", "etcd-0"):
            path = f"{HERE}/pods/{pod}/{way}"
            told = answer_of(host.syncer, Request("GET", path, None, path))
            assert ("objects that it created" in told[1]) is (pod in refused), told
        assert DENIED not in answers["admin"][1], answers


@pytest.mark.parametrize("name", ["default", "pods", "syncer"])
def test_who_impersonates_an_account_there_is_a_stranger(host: Host, name: str) -> None:
    """Kubernetes' own role `edit` lets people impersonate the accounts of a namespace, which makes nobody a pod."""
    person = account(host.kubeconfig, "default", "person", "edit", only_in=SPACE)
    user = {"Impersonate-User": f"system:serviceaccount:{SPACE}:{name}"}
    pod = made("Pod", f"{HERE}/pods", labels=COPY, spec=COPIES["Pod"]["spec"])
    pod.body["metadata"]["name"] = hashed("probe")
    entered = f"{HERE}/pods/server-0/exec?command=id&stdout=1"
    try:
        await_policy(lambda: "impersonate" not in pod.by(person, user)[1])
        if name == "syncer":
            assert pod.by(host.syncer)[0] == 201
            status, text = pod.by(person, user)
            assert (status, "only the platform and users" in text) == (403, True), text
            text = answer_of(person, Request("GET", entered, None, entered), None, user)[1]
            assert DENIED in text, text
        else:
            assert pod.by(person, user)[0] == 403
    finally:
        remove_accounts(host.kubeconfig, "person")


def test_who_drains_nodes_ends_pods_and_does_no_more(host: Host) -> None:
    """As the tools of clouds and distributions do, which may change nodes and evict pods everywhere."""
    rights = (("", ["nodes"], ["get", "patch"]), ("", ["pods", "pods/eviction"], ["create", "delete", "get"]))
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": verbs} for group, kinds, verbs in rights]
    drainer = account(host.kubeconfig, "default", "drainer", rules)
    try:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta("server-0")}
        evict, delete = (
            Change("POST", f"{HERE}/pods/server-0/eviction", eviction),
            Change("DELETE", f"{HERE}/pods/server-0"),
        )
        await_policy(lambda: DENIED not in evict.by(drainer)[1] and evict.by(drainer)[0] < 300)
        assert [change.by(drainer)[0] for change in (evict, delete)] == [201, 200]
        status, text = STRANGERS["a pod beside the server"].by(drainer)
        assert (status, DENIED in text) == (403, True), text
    finally:
        remove_accounts(host.kubeconfig, "drainer")
    person = account(host.kubeconfig, "default", "person", "cluster-admin", only_in=SPACE)
    try:
        await_policy(lambda: DENIED in evict.by(person)[1])
        for change in (evict, delete):
            status, text = change.by(person)
            assert (status, "only the platform and users" in text) == (403, True), text
    finally:
        remove_accounts(host.kubeconfig, "person")


def test_a_network_plugin_notes_addresses(host: Host) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get", "patch"]}]
    plugin = account(host.kubeconfig, "default", "plugin", rules)
    path = f"{HERE}/pods/server-0/status"
    note = merged(path, {"metadata": {"annotations": {"cni.projectcalico.org/podIP": "192.0.2.1"}}})
    refused = {
        "an address": merged(path, {"status": {"podIP": "192.0.2.1"}}),
        "a label": merged(path, labelled(a="b")),
        "a note of the platform's": merged(path, {"metadata": {"annotations": {"tenantry.dev/config": "x"}}}),
    }
    try:
        await_policy(lambda: note.by(plugin)[0] == 200)
        assert note.by(plugin)[0] == 200
        answers = {what: change.by(plugin) for what, change in refused.items()}
        assert {what: text for what, (status, text) in answers.items() if status != 403 or DENIED not in text} == {}
    finally:
        remove_accounts(host.kubeconfig, "plugin")


def test_an_operator_runs_the_platform(host: Host) -> None:
    for what in ("the resources", "a namespace's Pod Security", "a forged virtual cluster", "an open wall"):
        status, text = STRANGERS[what].by(host.operator)
        assert status in (200, 201), (what, text)
    assert STRANGERS["a secret gone"].by(host.operator)[0] == 403  # by RBAC, as ever


def test_a_member_has_the_same_policies(host: Host, second_api_server: Path, tmp_path: Path) -> None:
    options = {"kubeconfig": host.kubeconfig, "name": "edge", "member_kubeconfig": second_api_server}
    assert not call_module("fleet_member", **options).failed
    registry = ("get", "secret", "-n", "tenantry-system", "member-edge", "-o", "jsonpath={.data.kubeconfig}")
    path = tmp_path / "credential.yaml"
    path.write_bytes(base64.b64decode(ran(host.kubeconfig, *registry)))
    stranger = account(second_api_server, "default", "stranger", everything())
    try:
        add_vcluster(path, "payments", "dev")  # by the platform's credential
        for what in ("a namespace's Pod Security", "a priority class gone", "an open wall"):
            await_policy(lambda what=what: STRANGERS[what].by(stranger)[0] == 403)
            status, text = STRANGERS[what].by(stranger)
            assert (status, "only the platform and users" in text) == (403, True), text
    finally:
        kubectl(second_api_server, "delete", "namespace", SPACE)
        remove_accounts(second_api_server, "stranger")
        assert not call_module("fleet_member", **options, state="absent").failed


def test_without_the_policies_all_of_it_goes_through(host: Host) -> None:
    """The mutation control: nothing but the policies stood in the way."""
    with host.without(*POLICIES):
        await_policy(lambda: STRANGERS["an open wall"].by(host.stranger)[0] == 201)
        await_policy(lambda: STRANGERS["a pod beside the server"].by(host.stranger)[0] == 201)
        answers = {what: change.by(host.stranger) for what, change in STRANGERS.items()}
        assert {what: text for what, (status, text) in answers.items() if status not in (200, 201)} == {}
    await_policy(lambda: STRANGERS["an open wall"].by(host.stranger)[0] == 403)
    assert STRANGERS["an open wall"].by(host.stranger)[0] == 403
