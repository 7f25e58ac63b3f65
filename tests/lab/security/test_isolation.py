"""A tenant's administrator against the host, other tenants and the platform: every verb on everything that is served.

Real requests as that person's identity. Nothing is changed, not by those that would be allowed either: they are dry
runs, or name what does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from ..harness import kubectl
from ..people import await_policy, joining
from .asking import Requests
from .conftest import NAMES, Scene, connect, token_of
from .sweep import APPLY, JSON_PATCH, MERGE, Request, Served, answers, requests_for, served, status_of

# What everybody may ask about himself.
SELF = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
# What Kubernetes itself lets every account read: certificates of CAs, which are for everybody (from 1.37 on).
FOR_EVERYBODY = {f"{verb} clustertrustbundles" for verb in ("get", "list", "watch")}
# Inside the namespace of his own virtual cluster a tenant is as much a stranger as in anybody else's.
CLOSED = ("tenant-research", "research--lab", "payments--dev", "tenantry-system", "kube-system", "default")


@pytest.fixture(scope="module")
def requests(pytestconfig: pytest.Config) -> Iterator[Requests]:
    made = Requests()
    yield made
    made.tell("isolation", pytestconfig)


@pytest.fixture(scope="module")
def everything(scene: Scene) -> list[Served]:
    found = served(connect(scene.hub))
    names = {resource.name for resource in found}
    # Whatever the discovery is made of, these must be in it: a sweep over nothing is always green.
    assert {"pods/exec", "nodes/proxy", "serviceaccounts/token", "namespaces/finalize", "clusterrolebindings"} <= names
    return [resource for resource in found if resource.name not in SELF]


def let_through(cluster: Cluster, asked: Iterator[Request], requests: Requests, what: str) -> list[str]:
    """The requests that were not refused for want of a right."""
    return [
        f"{request} ({status})" for request, status in answers(cluster, asked, requests, what).items() if status != 403
    ]


def cluster_scoped(everything: list[Served]) -> Iterator[Request]:
    """On cluster-scoped resources, and on all namespaces at once."""
    for resource in everything:
        yield from requests_for(resource, None)


def in_namespace(everything: list[Served], namespace: str) -> Iterator[Request]:
    for resource in everything:
        if resource.namespaced:
            yield from requests_for(resource, namespace)


@pytest.mark.parametrize("role", ["developer", "admin"])
def test_nothing_cluster_wide(scene: Scene, everything: list[Served], requests: Requests, role: str) -> None:
    found = let_through(scene.on_hub[role], cluster_scoped(everything), requests, "cluster-wide")
    assert [one for one in found if one.partition(":")[0] not in FOR_EVERYBODY] == []


@pytest.mark.parametrize("namespace", CLOSED)
def test_nothing_in_a_closed_namespace(
    scene: Scene, everything: list[Served], requests: Requests, namespace: str
) -> None:
    assert let_through(scene.on_hub["admin"], in_namespace(everything, namespace), requests, "in namespaces") == []


def test_the_other_way_round(scene: Scene, everything: list[Served], requests: Requests) -> None:
    token = connect(scene.hub).token_request("tenant-research", "alice", seconds=3600, bound_secret=None)[0]
    alice = connect(scene.hub, token)  # of research: two tenants have a user of this name
    for namespace in ("tenant-payments", "payments--dev"):
        assert let_through(alice, in_namespace(everything, namespace), requests, "in namespaces") == []
    own = Request("GET", "/api/v1/namespaces/tenant-research/configmaps/tenant", None, "get configmaps")
    assert status_of(alice, own) == 200


def test_the_positive_control(scene: Scene, everything: list[Served], requests: Requests) -> None:
    """The same requests by the hub's administrator: none of them is refused for want of a right."""
    asked = [*cluster_scoped(everything), *in_namespace(everything, "research--lab")]
    asked = [request for request in asked if not request.what.startswith("watch ")]  # each would take its second
    found = answers(connect(scene.hub), asked, requests, "by the administrator")
    assert [str(request) for request, status in found.items() if status in (401, 403)] == []
    assert {200, 404} <= set(found.values())


def test_a_right_too_many_is_found(scene: Scene, everything: list[Served], requests: Requests) -> None:
    """The mutation control: one small right, granted where none should be, turns the sweep red."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "mutation", "namespace": "research--lab"},
        "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}],
    }
    subject = f"--serviceaccount=tenant-payments:{NAMES['admin']}"
    kubectl(scene.hub, "create", "-f", "-", stdin=json.dumps(role))
    kubectl(scene.hub, "create", "rolebinding", "mutation", "-n", "research--lab", "--role=mutation", subject)
    alice = scene.on_hub["admin"]
    pods = [resource for resource in everything if resource.name == "pods/exec"]
    try:
        await_policy(lambda: len(let_through(alice, in_namespace(pods, "research--lab"), requests, "mutation")))
        found = let_through(alice, in_namespace(everything, "research--lab"), requests, "in namespaces")
        assert [line.split(":")[0] for line in found] == ["create pods/exec"]
    finally:
        kubectl(scene.hub, "delete", "role,rolebinding", "mutation", "-n", "research--lab")


# The platform's own objects, by every way to change one -------------------------------------------------------------

LABELS = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
OWNER = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "0"}
OBJECTS = {
    "namespaces/tenant-payments": LABELS,
    "namespaces/payments--dev": LABELS,
    "namespaces/research--lab": LABELS,
    "namespaces/tenantry-system": LABELS,
    "namespaces/tenant-payments/resourcequotas/tenant": {"spec": {"hard": {"pods": "100"}}},
    "namespaces/tenant-payments/configmaps/tenant": {"data": {"quota": '{"cpu": "1000"}'}},
    "namespaces/tenant-payments/serviceaccounts/alice": {
        "metadata": {"annotations": {"tenantry.dev/role": "platform_operator"}}
    },
    "namespaces/tenantry-system/configmaps/fleet": {"data": {"hub": "mine"}},
}


def changes(path: str, change: dict[str, Any]) -> Iterator[tuple[Request, Any]]:
    url = f"/api/v1/{path}"
    kinds = {"namespaces": "Namespace", "resourcequotas": "ResourceQuota"}
    kinds |= {"configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount"}
    plural, name = path.split("/")[-2:]
    whole = {"apiVersion": "v1", "kind": kinds[plural], **change}
    whole["metadata"] = {**change.get("metadata", {}), "name": name}
    owned = [{"op": "add", "path": "/metadata/ownerReferences", "value": [OWNER]}]
    yield Request("PATCH", f"{url}?dryRun=All", MERGE, "merge patch"), change
    yield Request("PATCH", f"{url}?dryRun=All", JSON_PATCH, "owner by JSON patch"), owned
    yield Request("PATCH", f"{url}?dryRun=All&fieldManager=probe&force=true", APPLY, "server-side apply"), whole
    yield Request("DELETE", f"{url}?dryRun=All", None, "delete"), None
    if plural in ("namespaces", "resourcequotas"):
        yield Request("PATCH", f"{url}/status?dryRun=All", MERGE, "status"), change
    if plural == "namespaces":
        finalized = {**whole, "spec": {"finalizers": []}}
        yield Request("PUT", f"{url}/finalize?dryRun=All", "application/json", "finalize"), finalized


@pytest.mark.parametrize("path", OBJECTS)
def test_the_platforms_objects_cannot_be_changed(scene: Scene, requests: Requests, path: str) -> None:
    administrator = connect(scene.hub)
    for request, body in changes(path, OBJECTS[path]):
        for role in ("viewer", "developer", "admin"):
            assert status_of(scene.on_hub[role], request, body) == 403, (role, str(request))
        # The same request is well-formed: who has the right is not refused for want of one.
        assert status_of(administrator, request, body) in (200, 409, 422), str(request)
        requests.count("changes of the platform's objects", 4)


# Credentials of one cluster at another --------------------------------------------------------------------------------

WHO = Request("GET", "/api/v1/namespaces/default/pods", None, "list pods")


def test_a_credential_is_good_for_one_cluster(scene: Scene, requests: Requests) -> None:
    clusters = {"hub": scene.hub, "dev": scene.dev, "lab": scene.lab}
    tokens = {
        "dev": token_of(scene.users["admin"]),
        "lab": token_of(scene.users["research"]),
        "hub": connect(scene.hub).token_request("tenant-payments", "alice", seconds=3600, bound_secret=None)[0],
    }
    for issuer, token in tokens.items():
        for name, kubeconfig in clusters.items():
            status = status_of(connect(kubeconfig, token), WHO)
            requests.count("foreign credentials", 1)
            expected = {"hub": 403}.get(issuer, 200) if name == issuer else 401  # on the hub known, without rights here
            assert status == expected, (issuer, name)


def test_authorities_and_signing_keys_are_apart(scene: Scene) -> None:
    clusters = (scene.hub, scene.dev, scene.lab)
    published = [json.loads(kubectl(path, "get", "--raw", "/openid/v1/jwks").stdout)["keys"] for path in clusters]
    keys = [key["kid"] for keys in published for key in keys]
    assert len(set(keys)) == len(keys) == len(clusters)
    assert len({connect(path).ca_data for path in clusters}) == len(clusters)


def test_a_certificate_of_one_cluster_is_unknown_to_another(scene: Scene) -> None:
    """The administrator's, no less."""
    for kubeconfig, other in ((scene.dev, scene.lab), (scene.lab, scene.hub), (scene.dev, scene.hub)):
        config = yaml.safe_load(kubeconfig.read_text())
        assert status_of(connect(kubeconfig), WHO) == 200
        config["clusters"] = yaml.safe_load(other.read_text())["clusters"]
        forged = kubeconfig.with_name("forged.yaml")
        forged.write_text(yaml.safe_dump(config))
        assert status_of(connect(forged), WHO) == 401
        forged.unlink()


def test_a_join_token_is_good_for_one_cluster(scene: Scene) -> None:
    """Joining takes the token that the server keeps for its agents."""
    for own, other in ((scene.dev, scene.lab), (scene.lab, scene.dev)):
        token = (own.parent / "data" / "server" / "token").read_text().strip().rpartition(":")[2]
        assert joining(own, token) == 200
        assert joining(other, token) == 401
