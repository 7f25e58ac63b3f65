"""What nobody does to the platform's objects on a host, whatever RBAC lets him do, and what a syncer makes of nothing.

The stranger here has every right on everything that hosts have; by RBAC, no request of his is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles

from ..harness import call_module, kubectl, ran, until
from ..people import add_vcluster, await_policy, labels_of
from .conftest import connect
from .sweep import JSON_PATCH, MERGE, Request, answer_of

SPACE = "payments--dev"
OURS = labels_of("payments", "dev")
COPY = {"app.kubernetes.io/managed-by": "tenantry-syncer"}
HERE, DEFAULT = f"/api/v1/namespaces/{SPACE}", "/api/v1/namespaces/default"
APPS, RBAC = "/apis/apps/v1", "/apis/rbac.authorization.k8s.io/v1"
WALLS = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
POLICIES = ("tenantry-objects", "tenantry-syncers", "tenantry-vclusters")
OPEN = {"podSelector": {}, "ingress": [{}], "egress": [{}]}
CONTAINER = {"name": "web", "image": "web"}
DRY = "?dryRun=All"
NOW = {"lastTransitionTime": "2026-01-01T00:00:00Z"}


class Change(NamedTuple):
    method: str
    path: str
    body: Any = None
    content: str = "application/json"

    def by(self, who: Cluster) -> tuple[int, str]:
        request = Request(self.method, self.path + DRY, None if self.body is None else self.content, self.path)
        return answer_of(who, request, self.body)


def made(kind: str, path: str, *, labels: dict | None = None, api: str = "v1", **content: Any) -> Change:
    return Change("POST", path, {"apiVersion": api, "kind": kind, "metadata": meta("probe", labels), **content})


def meta(name: str, labels: dict | None = None) -> dict:
    return {"name": name, "labels": labels or {}}


def merged(path: str, body: dict) -> Change:
    return Change("PATCH", path, body, MERGE)


def labelled(**labels: str) -> dict:
    return {"metadata": {"labels": labels}}


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
    "the budget": merged("/api/v1/namespaces/tenant-payments/configmaps/tenant", {"data": {"budget": "{}"}}),
    "the slice": merged(f"{HERE}/resourcequotas/slice", {"spec": {"hard": {"pods": "1000"}}}),
    "the slice's status": merged(f"{HERE}/resourcequotas/slice/status", {"status": {"used": {"pods": "0"}}}),
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


def pod(**spec: Any) -> Change:
    spec = {
        "serviceAccountName": "pods",
        "priorityClassName": "tenantry-dev",
        "containers": [CONTAINER],
        "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "x"}}],
        **spec,
    }
    given = {key: value for key, value in spec.items() if value is not None}
    return made("Pod", f"{HERE}/pods", labels=COPY, spec=given)


def service(**spec: Any) -> Change:
    return made("Service", f"{HERE}/services", labels=COPY, spec={"ports": [{"port": 80}], **spec})


def claim(**spec: Any) -> Change:
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return made("PersistentVolumeClaim", f"{HERE}/persistentvolumeclaims", labels=COPY, spec={**size, **spec})


def secret(kind: str = "Opaque", **metadata: Any) -> Change:
    change = made("Secret", f"{HERE}/secrets", labels=COPY, type=kind)
    change.body["metadata"].update(metadata)
    return change


def volume(**source: Any) -> Change:
    return pod(volumes=[{"name": "a", **source}])


OTHERS, NO_HOST, PLACED = "a syncer changes what it made", "of the host", "are placed by the scheduler"
DENIED = "denied request"  # by one of two policies that both do
SYNCERS = {
    "a pod without its label": (made("Pod", f"{HERE}/pods", spec=pod().body["spec"]), OTHERS),
    "a pod as the platform's": (made("Pod", f"{HERE}/pods", labels=OURS, spec=pod().body["spec"]), DENIED),
    "the join token": (merged(f"{HERE}/secrets/join-token", {"data": {"server-token": "eA=="}}), DENIED),
    "a secret of somebody": (merged(f"{HERE}/secrets/others", {"data": {"a": "eA=="}}), OTHERS),
    "its copy's label away": (
        merged(f"{HERE}/secrets/copy", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}),
        OTHERS,
    ),
    "the API's service gone": (Change("DELETE", f"{HERE}/services/api"), DENIED),
    "hostNetwork": (pod(hostNetwork=True), NO_HOST),
    "hostPID": (pod(hostPID=True), NO_HOST),
    "hostIPC": (pod(hostIPC=True), NO_HOST),
    "hostPort": (pod(containers=[{**CONTAINER, "ports": [{"containerPort": 1, "hostPort": 1}]}]), NO_HOST),
    "hostPort of an init container": (
        pod(initContainers=[{**CONTAINER, "name": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}]),
        NO_HOST,
    ),
    "hostPath": (volume(hostPath={"path": "/"}), NO_HOST),
    "nfs": (volume(nfs={"server": "192.0.2.1", "path": "/"}), NO_HOST),
    "csi": (volume(csi={"driver": "example.com"}), NO_HOST),
    "priority of the system": (pod(priorityClassName="system-node-critical"), PLACED),
    "priority of the other tier": (pod(priorityClassName="tenantry-prod"), PLACED),
    "no priority class": (pod(priorityClassName=None), PLACED),
    "another account": (pod(serviceAccountName="syncer"), PLACED),
    "a node by name": (pod(nodeName="hub"), PLACED),
    "a runtime class": (pod(runtimeClassName="other"), PLACED),
    "external IPs": (service(externalIPs=["192.0.2.1"]), "no external IPs"),
    "an external name": (service(type="ExternalName", externalName="example.com"), "no external names"),
    "a volume by name": (claim(volumeName="pv-1"), "name no volume"),
    "a volume by label": (claim(selector={"matchLabels": {"a": "b"}}), "name no volume"),
    "a source": (claim(dataSource={"kind": "PersistentVolumeClaim", "name": "data-server-0"}), "name no volume"),
    "a token that never ends": (
        secret("kubernetes.io/service-account-token", annotations={"kubernetes.io/service-account.name": "syncer"}),
        "are of the types",
    ),
}
# What it does all the time.
COPIES = {
    "a pod": pod(),
    "a service": service(),
    "a claim": claim(),
    "a secret": secret(),
    "a config map": made("ConfigMap", f"{HERE}/configmaps", labels=COPY),
    "a secret changed": merged(f"{HERE}/secrets/copy", {"data": {"a": "eA=="}}),
    "a secret gone": Change("DELETE", f"{HERE}/secrets/copy"),
}


@dataclass(frozen=True)
class Host:
    kubeconfig: Path
    admin: Cluster
    stranger: Cluster
    syncer: Cluster
    operator: Cluster

    def create(self, *objects: dict) -> None:
        create(self.kubeconfig, *objects)


def create(kubeconfig: Path, *objects: dict) -> None:
    ran(kubeconfig, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def account(kubeconfig: Path, namespace: str, name: str, rules: list[dict]) -> Cluster:
    """A new ServiceAccount with these rights in all of the cluster, as a client."""
    role = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": f"test-{name}"}
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    api, metadata = "rbac.authorization.k8s.io/v1", {"name": role["name"], "labels": {"test": "admission"}}
    create(
        kubeconfig,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}},
        {"apiVersion": api, "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
    )
    return connect(kubeconfig, connect(kubeconfig).token_request(namespace, name, seconds=3600, bound_secret=None)[0])


def everything() -> list[dict]:
    groups = ["", *(f"{name}.k8s.io" for name in ("networking", "rbac.authorization", "scheduling")), "apps", "policy"]
    return [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]


def remove_accounts(kubeconfig: Path) -> None:
    kubectl(kubeconfig, "delete", "clusterrole,clusterrolebinding", "-l", "test=admission")
    kubectl(kubeconfig, "delete", "serviceaccount", "-n", "default", "stranger", "operator", "--ignore-not-found")


@pytest.fixture(scope="module")
def host(platform: Path) -> Iterator[Host]:
    assert not call_module("tenant_quota", kubeconfig=platform, tenant="payments").failed
    add_vcluster(platform, "payments", "dev")
    ran(platform, "label", "namespace", SPACE, "tenantry.dev/tier=dev")
    space = {"namespace": SPACE, "labels": OURS}
    ports = {"ports": [{"port": 6443}], "selector": {"app": "server"}}
    template = {"metadata": {"labels": {**OURS, "app": "server"}}, "spec": {"containers": [CONTAINER]}}
    server = {"replicas": 1, "serviceName": "api", "selector": {"matchLabels": {"app": "server"}}, "template": template}
    create(
        platform,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join-token", **space}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", **space}, "spec": ports},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "slice", **space},
            "spec": {"hard": {"pods": "10"}},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pods", **space}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "server", **space}, "spec": server},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy", "namespace": SPACE, "labels": COPY}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "others", "namespace": SPACE}},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "other"}, "handler": "other"},
    )
    found = Host(
        kubeconfig=platform,
        admin=connect(platform),
        stranger=account(platform, "default", "stranger", everything()),
        syncer=account(platform, SPACE, "syncer", _roles.SYNCER),
        operator=account(platform, "default", "operator", _roles.HUB["operator"]),
    )
    until(lambda: STRANGERS["a priority class gone"].by(found.stranger)[0] == 403, 10)  # the policies hold
    until(lambda: secret().by(found.syncer)[0] == 201, 10)  # the rights too
    yield found
    remove_accounts(platform)
    # A namespace that is not empty at once is looked at again much later.
    ran(platform, "delete", "statefulset", "server", "-n", SPACE, "--cascade=foreground")
    ran(platform, "delete", "namespace,runtimeclass", SPACE, "other", "--ignore-not-found")
    removed = call_module("tenant_quota", kubeconfig=platform, tenant="payments", state="absent")
    assert not removed.failed, removed.msg


def test_the_statefulset_controller_and_others_go_on(host: Host) -> None:
    """Pods with the platform's label are made and ended, endpoints told: by the controllers of the host."""
    found = until(lambda: json.loads(ran(host.kubeconfig, "get", "pods", "-n", SPACE, "-o", "json"))["items"], 20)
    assert found[0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tenantry.kube"
    slices = ("get", "endpointslices", "-n", SPACE, "-l", "app.kubernetes.io/managed-by=tenantry.kube", "-o", "name")
    assert until(lambda: ran(host.kubeconfig, *slices), 20)
    used = ("get", "resourcequota", "slice", "-n", SPACE, "-o", "jsonpath={.status.used.pods}")
    until(lambda: ran(host.kubeconfig, *used) == "1", 20)


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_is_refused_what_an_administrator_may(host: Host, what: str) -> None:
    status, text = STRANGERS[what].by(host.stranger)
    assert (status, DENIED in text, "by the platform only" in text) == (403, True, True), text
    status, text = STRANGERS[what].by(host.admin)
    assert status in (200, 201), text


@pytest.mark.parametrize("what", HARMLESS)
def test_a_stranger_may_what_is_not_the_platforms(host: Host, what: str) -> None:
    status, text = HARMLESS[what].by(host.stranger)
    assert status in (200, 201), text


def test_a_door_of_the_server_is_the_platforms(host: Host) -> None:
    """CONNECT knows no dry run; without a node, who may gets no further than that."""
    for way in ("exec?command=id&stdout=1", "attach?stdout=1", "portforward"):
        path = f"{HERE}/pods/server-0/{way}"
        answers = {
            name: answer_of(who, Request("GET", path, None, path))
            for name, who in {"stranger": host.stranger, "admin": host.admin, "syncer": host.syncer}.items()
        }
        assert "by the platform only" in answers["stranger"][1], answers
        assert DENIED not in answers["admin"][1] + answers["syncer"][1], answers


@pytest.mark.parametrize("what", SYNCERS)
def test_a_syncer_is_refused(host: Host, what: str) -> None:
    change, words = SYNCERS[what]
    status, text = change.by(host.syncer)
    assert (status, DENIED in text, words in text) == (403, True, True), text


@pytest.mark.parametrize("what", COPIES)
def test_a_syncer_may_what_it_does(host: Host, what: str) -> None:
    status, text = COPIES[what].by(host.syncer)
    assert status in (200, 201), text


def test_an_operator_runs_the_platform(host: Host) -> None:
    for what in ("the slice", "a namespace's Pod Security", "a forged virtual cluster", "an open wall"):
        status, text = STRANGERS[what].by(host.operator)
        assert status in (200, 201), (what, text)
    assert STRANGERS["a secret gone"].by(host.operator)[0] == 403  # by RBAC, as ever


def test_a_member_is_walled_the_same(host: Host, second_api_server: Path, tmp_path: Path) -> None:
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
            assert (status, "by the platform only" in text) == (403, True), text
    finally:
        kubectl(second_api_server, "delete", "namespace", SPACE)
        remove_accounts(second_api_server)
        assert not call_module("fleet_member", **options, state="absent").failed


def test_without_the_policies_all_of_it_goes_through(host: Host) -> None:
    """The mutation control: nothing but the policies stood in the way. The next run puts them back, and says so."""
    refused = {
        **{what: (change, host.stranger) for what, change in STRANGERS.items()},
        **{what: (change, host.syncer) for what, (change, _words) in SYNCERS.items()},
    }
    ran(host.kubeconfig, "delete", "validatingadmissionpolicybinding", *POLICIES)
    try:
        await_policy(lambda: STRANGERS["an open wall"].by(host.stranger)[0] == 201)
        await_policy(lambda: SYNCERS["hostPath"][0].by(host.syncer)[0] == 201)
        answers = {what: change.by(who) for what, (change, who) in refused.items()}
        assert {what: text for what, (status, text) in answers.items() if status not in (200, 201)} == {}
    finally:
        repaired = call_module("platform", kubeconfig=host.kubeconfig)
    assert {action["name"] for action in repaired.data["actions"]} == set(POLICIES)
    await_policy(lambda: STRANGERS["an open wall"].by(host.stranger)[0] == 403)
    assert STRANGERS["an open wall"].by(host.stranger)[0] == 403
