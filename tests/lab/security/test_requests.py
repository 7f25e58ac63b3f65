"""ISO-7: a request for a virtual cluster carries nothing that its requester may not do himself.

Dry runs of real requests as users of payments, each with one forbidden thing, beside the same request without it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from ..harness import call_module, kubectl, ran
from ..people import await_policy, until_counted
from .asking import GROUP, Requests, dry_run, with_value
from .conftest import Scene, _hub_token, connect

HOME = "tenant-payments"
DEFINITION = "virtualclusterrequests.tenantry.dev"
GOOD: dict[str, Any] = {
    "apiVersion": "tenantry.dev/v1alpha1",
    "kind": "VirtualClusterRequest",
    "metadata": {"name": "mine", "namespace": HOME},
    "spec": {
        "requestedBy": "dan",
        "resources": {"cpu": 2, "memory": "2Gi", "storage": "8Gi", "pods": 20},
        "version": "v1.37.2+k3s1",
        "podSecurity": "restricted",
        "ttl": "14d",
        "sleep": {"idle": "2h", "schedule": ["mon-fri 20:00-06:00"], "timezone": "Europe/Berlin"},
    },
}
# What the module vcluster takes from administrators, and what a requester might try besides.
NO_FIELDS: dict[str, Any] = {
    "agents": 1,
    "cluster_cidr": "10.0.0.0/8",
    "clusterRoleBindings": [{"roleRef": "cluster-admin"}],
    "deletion_protection": True,
    "expose": {"type": "LoadBalancer"},
    "host": "edge",
    "image": "evil/k3s",
    "image_credentials": [{"registry": "r", "username": "u", "password": "p"}],
    "ingress_hosts": ["*"],
    "k3sConfig": {"disable-cloud-controller": True},
    "k3s_config": {"kube-apiserver-arg": ["anonymous-auth=true"]},
    "kubeconfig_path": "/etc/cron.d/x",
    "manifests": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}],
    "mode": "dedicated",
    "namespace": "kube-system",
    "network": {"egress_allow": ["0.0.0.0/0"]},
    "persistence": {"storage_class": "fast"},
    "pod_security": "privileged",
    "registries": {"mirrors": {}},
    "server": {"runtime_class": "none"},
    "serverArgs": ["--kube-apiserver-arg=anonymous-auth=true"],
    "servers": 3,
    "state": "absent",
    "storage_classes": ["fast"],
    "syncer_image": "evil/syncer:1",
    "tenant": "research",
    "tier": "prod",
    "user": "alice",
}
BAD_VALUES: list[tuple[str, Any]] = [
    ("spec.requestedBy", None),
    ("spec.requestedBy", ""),
    ("spec.requestedBy", ["dan"]),
    ("spec.resources", None),
    ("spec.resources.cpu", None),
    ("spec.resources.cpu", -1),
    ("spec.resources.cpu", "-1"),
    ("spec.resources.cpu", "ten"),
    ("spec.resources.cpu", "1e9"),
    ("spec.resources.cpu", "{{ 7 * 7 }}"),
    ("spec.resources.memory", "10gb"),
    ("spec.resources.memory", "2Gi\n"),
    ("spec.resources.storage", "all"),
    ("spec.resources.pods", -1),
    ("spec.resources.pods", 0),
    ("spec.resources.pods", "20"),
    ("spec.version", "latest"),
    ("spec.version", "v1.37.2+k3s1 --debug"),
    ("spec.podSecurity", "privileged"),
    ("spec.ttl", "never"),
    ("spec.sleep.idle", "soon"),
    ("spec.sleep.schedule", ["sat"] * 21),
    ("spec.sleep.timezone", "x" * 61),
    ("metadata.name", "a--b"),
    ("metadata.name", "1a"),
    ("metadata.name", "a.b"),
]
NAMES_OF_OTHERS = (
    "alice",
    "dora",
    "system:admin",
    "system:serviceaccount:tenant-payments:alice",
    "system:serviceaccount:tenant-research:alice",
    "system:serviceaccount:tenantry-system:dan",
)


@pytest.fixture(scope="module")
def requests(pytestconfig: pytest.Config) -> Iterator[Requests]:
    made = Requests()
    yield made
    made.tell("requests for virtual clusters", pytestconfig)


@pytest.fixture(scope="module", autouse=True)
def counted(scene: Scene) -> None:
    until_counted(scene.hub, HOME)


@pytest.fixture(scope="module")
def other(scene: Scene) -> Iterator[Cluster]:
    """Another developer of the same tenant."""
    dora = {"kubeconfig": scene.hub, "tenant": "payments", "name": "dora"}
    made = call_module("tenant_user", **dora, role="developer")
    assert not made.failed, made.msg
    yield connect(scene.hub, _hub_token(connect(scene.hub), "dora"))
    call_module("tenant_user", **dora, state="absent")


@pytest.fixture(scope="module")
def dan(scene: Scene) -> Cluster:
    """A developer, for whom the policy is in force: what it would refuse is refused."""
    developer = scene.on_hub["developer"]
    await_policy(lambda: _status(developer, changed("spec.requestedBy", "alice")) == 403)
    return developer


@pytest.fixture
def stored(scene: Scene, dan: Cluster) -> Iterator[dict[str, Any]]:
    """A request of dan's that is really there."""
    yield dan.create(GOOD)
    kubectl(scene.hub, "delete", DEFINITION, "mine", "-n", HOME)


def changed(path: str, value: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The good request with another value at one place; None takes it away."""
    return with_value(base or GOOD, path, value)


def _asked(cluster: Cluster, obj: dict[str, Any], validation: str = "Strict", home: str = HOME) -> dict[str, Any]:
    """What the API server would store."""
    path = f"{GROUP}/namespaces/{home}/virtualclusterrequests?dryRun=All&fieldValidation={validation}"
    return cluster._json("post", path, body=obj, content_type="application/json")


_status = functools.partial(dry_run, plural="virtualclusterrequests")


def test_the_positive_control(dan: Cluster, requests: Requests) -> None:
    """Everything that a requester may decide is taken, and kept as it was said."""
    requests.count("allowed", 1)
    assert _asked(dan, GOOD)["spec"] == GOOD["spec"]


@pytest.mark.parametrize("field", NO_FIELDS)
def test_a_field_that_is_the_administrators(dan: Cluster, requests: Requests, field: str) -> None:
    """Refused where unknown fields are, as kubectl asks for; and dropped before it is stored where they are not."""
    for place in ("spec", "spec.resources"):
        bad = changed(f"{place}.{field}", NO_FIELDS[field])
        assert _status(dan, bad) == 400, place
        kept = _asked(dan, bad, validation="Ignore")
        assert kept["spec"] == GOOD["spec"]
        requests.count("unknown fields", 2)


@pytest.mark.parametrize(("path", "value"), BAD_VALUES, ids=[f"{path}={value!r}"[:40] for path, value in BAD_VALUES])
def test_a_value_that_is_none(dan: Cluster, requests: Requests, path: str, value: Any) -> None:
    requests.count("bad values", 1)
    assert _status(dan, changed(path, value)) in (400, 403, 422)


@pytest.mark.parametrize("name", NAMES_OF_OTHERS)
def test_in_the_name_of_somebody_else(dan: Cluster, requests: Requests, name: str) -> None:
    requests.count("names of others", 1)
    assert _status(dan, changed("spec.requestedBy", name)) == 403


def test_the_own_name_in_full(dan: Cluster, requests: Requests) -> None:
    requests.count("allowed", 1)
    assert _status(dan, changed("spec.requestedBy", "system:serviceaccount:tenant-payments:dan")) == 200


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("developer", 200), ("admin", 200), ("platform_operator", 200)]
)
def test_who_may_ask(scene: Scene, dan: Cluster, requests: Requests, role: str, status: int) -> None:
    who = scene.on_hub[role].whoami()
    requests.count("roles", 1)
    assert _status(scene.on_hub[role], changed("spec.requestedBy", who)) == status


@pytest.mark.parametrize("home", ["tenant-research", "research--lab", "payments--dev", "tenantry-system", "default"])
@pytest.mark.parametrize("role", ["developer", "admin"])
def test_elsewhere(scene: Scene, requests: Requests, role: str, home: str) -> None:
    """For another tenant, by the namespace: there is no other way to name one."""
    obj = changed("spec.requestedBy", scene.on_hub[role].whoami())
    requests.count("other namespaces", 1)
    assert _status(scene.on_hub[role], changed("metadata.namespace", home, obj)) == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("finalizers", ["example.com/mine"]),
        ("ownerReferences", [{"apiVersion": "v1", "kind": "ConfigMap", "name": "tenant", "uid": "0"}]),
    ],
)
def test_metadata_that_holds_up_its_removal_is_refused(
    dan: Cluster, requests: Requests, field: str, value: Any
) -> None:
    requests.count("metadata", 1)
    assert _status(dan, changed(f"metadata.{field}", value)) == 403


@pytest.mark.parametrize(
    ("most", "more"),
    [
        ({"annotations": {"a": "x" * 8000}}, {"annotations": {"a": "x" * 200_000}}),
        ({"annotations": {"a": "x" * 4000, "b": "x" * 4000}}, {"annotations": {"a": "x" * 8000, "b": "x" * 8000}}),
        ({"annotations": {f"n{i}": "" for i in range(100)}}, {"annotations": {f"n{i}": "" for i in range(9000)}}),
        ({"labels": {f"n{i}": "" for i in range(20)}}, {"labels": {f"n{i}": "" for i in range(21)}}),
    ],
    ids=["one annotation", "two annotations", "many annotations", "labels"],
)
def test_metadata_beyond_its_size_is_refused(dan: Cluster, requests: Requests, most: dict, more: dict) -> None:
    requests.count("allowed", 1)
    requests.count("metadata", 1)
    assert _status(dan, {**GOOD, "metadata": {**GOOD["metadata"], **most}}) == 200
    assert _status(dan, {**GOOD, "metadata": {**GOOD["metadata"], **more}}) == 403


def test_field_managers_beyond_their_number_are_refused(scene: Scene, dan: Cluster, stored: dict[str, Any]) -> None:
    """Each names what it manages, and the API server keeps all of them."""
    answers = []
    for number in range(25):
        run = kubectl(
            scene.hub, "apply", "--server-side", f"--field-manager=m{number}", "--dry-run=none", "-f", "-",
            stdin=json.dumps({**GOOD, "metadata": {**GOOD["metadata"], "labels": {f"m{number % 9}": ""}}}),
        )  # fmt: skip
        answers.append(run.returncode == 0)
    assert answers[0]
    assert not answers[-1]


def test_a_status_is_the_platforms(scene: Scene, stored: dict[str, Any], requests: Requests) -> None:
    """It is dropped from a request, and can be written by nobody of the tenant."""
    answer = {"phase": "Ready", "kubeconfig": "another"}
    assert "status" not in _asked(scene.on_hub["developer"], {**changed("metadata.name", "other"), "status": answer})
    said = changed("status", answer)
    for user in scene.on_hub.values():
        for content in ("merge-patch+json", "apply-patch+yaml"):
            assert _status(user, said, "patch", "/mine/status", content) == 403
            requests.count("status", 1)
    assert _status(connect(scene.hub), said, "patch", "/mine/status", "merge-patch+json") == 200


def test_who_changes_and_deletes_a_request(
    scene: Scene, stored: dict[str, Any], other: Cluster, requests: Requests
) -> None:
    """Its requester, the tenant's admins, operators. Another developer may not."""
    bigger = {**GOOD, "spec": {"resources": {**GOOD["spec"]["resources"], "cpu": 3}}}
    users = {role: scene.on_hub[role] for role in ("viewer", "developer", "admin", "platform_operator")}
    users |= {"another developer": other, "another tenant": connect(scene.hub, _token_of_research(scene))}
    for method, content in (("patch", "merge-patch+json"), ("delete", "json")):
        got = {who: _status(user, bigger, method, "/mine", content) for who, user in users.items()}
        requests.count(method, len(got))
        assert {who for who, status in got.items() if status == 200} == {"developer", "admin", "platform_operator"}
        assert set(got.values()) == {200, 403}


def test_a_request_stays_whose_it_was(scene: Scene, stored: dict[str, Any], requests: Requests) -> None:
    for role, name in (
        ("developer", "alice"),
        ("admin", "alice"),
        ("platform_operator", scene.on_hub["platform_operator"].whoami()),
    ):
        said = {**GOOD, "spec": {"requestedBy": name}}
        requests.count("patch", 1)
        assert _status(scene.on_hub[role], said, "patch", "/mine", "merge-patch+json") == 422, role


def _token_of_research(scene: Scene) -> str:
    return connect(scene.hub).token_request("tenant-research", "alice", seconds=3600, bound_secret=None)[0]


def test_without_the_policy_a_name_would_be_believed(scene: Scene, dan: Cluster) -> None:
    """The mutation control of the policy."""
    ran(scene.hub, "delete", "validatingadmissionpolicybinding", "tenantry-requests")
    try:
        await_policy(lambda: _status(dan, changed("spec.requestedBy", "alice")) == 200)
        assert _status(dan, changed("spec.requestedBy", "alice")) == 200
    finally:
        _repair(scene)
        await_policy(lambda: _status(dan, changed("spec.requestedBy", "alice")) == 403)


def test_without_the_schema_a_field_would_be_kept(scene: Scene, dan: Cluster) -> None:
    """The mutation control of the schema."""
    spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    open_wide = [{"op": "add", "path": f"{spec}/x-kubernetes-preserve-unknown-fields", "value": True}]
    ran(scene.hub, "patch", "crd", DEFINITION, "--type=json", "-p", json.dumps(open_wide))
    bad = changed("spec.manifests", NO_FIELDS["manifests"])
    try:
        await_policy(lambda: _status(dan, bad) == 200)
        assert "manifests" in _asked(dan, bad)["spec"]
    finally:
        _repair(scene)
        await_policy(lambda: _status(dan, bad) == 400)


def _repair(scene: Scene) -> None:
    """The platform finds what was changed, and makes it as it was."""
    repaired = call_module("platform", kubeconfig=scene.hub)
    assert not repaired.failed, repaired.msg
    assert repaired.changed
    assert not call_module("platform", kubeconfig=scene.hub).changed
