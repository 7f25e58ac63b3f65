"""What the reconciler on a hub consists of. That an API server accepts it is in tests/lab/test_reconciler.py."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import resources
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac, reconciler

SPEC = reconciler.ReconcilerSpec("example.com/ee:1", {"self_service": 300, "housekeeping": 600}, "fleet_hub: {}")
ALL = reconciler.objects(SPEC)


def one(kind: str, name: str = reconciler.NAME) -> dict:
    return next(obj for obj in ALL if (obj["kind"], obj["metadata"]["name"]) == (kind, name))


def pod(spec: reconciler.ReconcilerSpec = SPEC) -> dict:
    return next(obj for obj in reconciler.objects(spec) if obj["kind"] == "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("obj", ALL, ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
def test_every_object_goes_with_the_platform(obj: dict) -> None:
    assert obj["metadata"]["labels"].items() >= naming.labels("platform").items()
    assert obj["metadata"].get("namespace") in (None, naming.PLATFORM_NAMESPACE)
    assert ("namespace" in obj["metadata"]) == resources.is_namespaced(resources.kind_of(obj))


def test_one_pod_at_a_time() -> None:
    spec = one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert one("NetworkPolicy")["spec"]["podSelector"] == spec["selector"]


def test_arguments_are_the_schedule_in_seconds() -> None:
    container = pod()["containers"][0]
    assert container["image"] == "example.com/ee:1"
    assert [word for word in container["args"] if word.startswith("--run=")] == [
        "--run=self_service=300",
        "--run=housekeeping=600",
    ]


def test_kubeconfigs_of_users_get_the_hubs_address_outside_of_it() -> None:
    known = dataclasses.replace(SPEC, hub_server="https://hub.example.com:6443")
    (variable,) = [one for one in pod(known)["containers"][0]["env"] if one["name"] == naming.HUB_SERVER_VARIABLE]
    assert variable["value"] == "https://hub.example.com:6443"


def test_the_inventory_is_in_the_secret_only() -> None:
    secret = one("Secret")
    assert base64.b64decode(secret["data"][reconciler.INVENTORY]) == b"fleet_hub: {}"
    assert "fleet_hub" not in repr(SPEC)


def test_pull_secrets_are_named_if_given() -> None:
    given = reconciler.ReconcilerSpec("example.com/ee:1", {"self_service": 300}, "", ("registry",))
    assert pod(given)["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in pod()


def test_the_pod_reaches_no_service_of_its_node_but_dns() -> None:
    policy = one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    for rule in policy["egress"]:
        assert "to" not in rule or all(peer["ipBlock"]["except"] for peer in rule["to"])
        assert "to" in rule or {port["port"] for port in rule["ports"]} == {53}


def test_metrics_are_for_the_given_namespace_only() -> None:
    rendered = reconciler.objects(dataclasses.replace(SPEC, metrics_namespace="monitoring"))
    (policy,) = [obj["spec"] for obj in rendered if obj["kind"] == "NetworkPolicy"]
    assert policy["ingress"] == [
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "ports": [{"protocol": "TCP", "port": 8080}],
        }
    ]
    (template,) = [obj["spec"]["template"] for obj in rendered if obj["kind"] == "Deployment"]
    assert template["metadata"]["annotations"]["prometheus.io/path"] == "/metrics"
    assert "--metrics=/tmp/metrics/tenantry.prom" in template["spec"]["containers"][0]["args"]
    assert "annotations" not in one("Deployment")["spec"]["template"]["metadata"]
    assert not [word for word in pod()["containers"][0]["args"] if "metrics" in word]


@pytest.mark.parametrize("dedicated", [False, True])
def test_privileged_pods_need_the_option(dedicated: bool) -> None:
    rendered = reconciler.objects(dataclasses.replace(SPEC, dedicated=dedicated))
    assert ("pod-security.kubernetes.io/enforce" in str(rendered)) != dedicated


def rights(rules: list[dict]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def test_secrets_of_all_namespaces_are_not_read() -> None:
    everywhere = rights(rbac.RECONCILER)
    assert not [right for right in everywhere if right[1] in ("secrets", "pods/exec", "serviceaccounts/token")]
    assert not [right for right in everywhere if right[2] in ("*", "escalate", "impersonate")]
    written = {resource for _group, resource, verb in everywhere if verb in ("create", "update", "patch", "delete")}
    assert written == {
        "namespaces",
        "rolebindings",
        "tenantuserrequests/status",
        "tokenreviews",
        "virtualclusterrequests",
        "virtualclusterrequests/status",
    }


def test_it_has_every_right_of_the_platform_on_a_member() -> None:
    assert rights(rbac.RECONCILER) > rights(rbac.PLATFORM)


def test_it_binds_no_role_of_a_platform_operator() -> None:
    bound = {name for rule in rbac.RECONCILER if "bind" in rule["verbs"] for name in rule["resourceNames"]}
    assert bound == {
        "tenantry:vcluster-manager",
        "tenantry:tenant-manager",
        "tenantry:viewer",
        "tenantry:developer",
        "tenantry:admin",
    }


def space(component: str, **labels: str) -> dict:
    return {"metadata": {"name": "some", "labels": naming.labels(component, **labels)}}


def test_its_right_in_a_namespace_of_a_tenant_goes_with_it() -> None:
    binding = reconciler.binding_in(space("tenant", tenant="payments")) or {}
    assert binding["roleRef"]["name"] == rbac.TENANT_MANAGER_ROLE
    assert binding["metadata"]["labels"][naming.LABEL_COMPONENT] == "platform"


@pytest.mark.parametrize("component", ["platform", "user", "member"])
def test_it_gets_no_right_in_other_namespaces(component: str) -> None:
    assert reconciler.binding_in(space(component)) is None
