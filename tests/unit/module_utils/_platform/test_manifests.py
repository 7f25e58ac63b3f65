"""What platform, members, tenants and users consist of."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import member_manifests, registry
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import resources
from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities, manifests
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import manifests as tenant_manifests

KUBECONFIG = {"users": [{"name": "x", "user": {"token": "swordfish"}}]}
QUOTA = {"cpu": "8", "memory": "16Gi", "storage": "100Gi", "pods": "100", "vclusters": "5"}


def _member_secret() -> dict:
    return member_manifests.member_secret(
        "edge",
        KUBECONFIG,
        identity="uid",
        server="https://edge:6443",
        version="v1.34.4",
        expires="2027-01-01T00:00:00Z",
    )


ALL = [
    *manifests.platform_objects("uid"),
    *member_manifests.member_objects("uid"),
    _member_secret(),
    *tenant_manifests.tenant_objects("payments", QUOTA, "Payments"),
    *identities.inside_base(),
    *identities.inside_shared(),
    *identities.inside_user("payments", "alice", "admin"),
    *identities.hub_user("payments", "alice", "admin", None),
    *identities.hub_user("payments", "olga", "platform_operator", None),
]


@pytest.mark.parametrize("obj", ALL, ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
def test_every_object_is_marked_and_of_a_known_kind(obj: dict) -> None:
    assert naming.is_ours(obj)
    assert obj["metadata"]["labels"][naming.LABEL_COMPONENT] in ("platform", "member", "tenant", "vcluster", "user")
    assert ("namespace" in obj["metadata"]) == resources.is_namespaced(resources.kind_of(obj))


def test_tenant_user_does_not_prune_what_only_vcluster_renders() -> None:
    """It prunes objects of the component user, and renders inside_base() only."""
    assert {obj["metadata"]["labels"][naming.LABEL_COMPONENT] for obj in identities.inside_shared()} == {"vcluster"}


def test_namespaces_are_of_the_strictest_level() -> None:
    spaces = [obj for obj in ALL if obj["kind"] == "Namespace"]
    assert len(spaces) == 4
    assert {obj["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for obj in spaces} == {"restricted"}


def test_no_service_account_mounts_its_token() -> None:
    accounts = [obj for obj in ALL if obj["kind"] == "ServiceAccount"]
    assert len(accounts) == 4
    assert {obj["automountServiceAccountToken"] for obj in accounts} == {False}


def test_production_pushes_development_off() -> None:
    classes = {c["metadata"]["name"]: c for c in manifests.priority_classes("platform")}
    assert classes["tenantry-prod"]["value"] > classes["tenantry-dev"]["value"]
    assert classes["tenantry-dev"]["preemptionPolicy"] == "Never"
    assert not any(c["globalDefault"] for c in classes.values())
    for tier in ("dev", "prod"):
        assert classes[f"tenantry-{tier}-server"]["value"] > classes[f"tenantry-{tier}"]["value"]
    assert classes["tenantry-prod"]["value"] > classes["tenantry-dev-server"]["value"]


def test_a_record_gives_its_quota_back() -> None:
    record = next(o for o in tenant_manifests.tenant_objects("payments", QUOTA, "P") if o["kind"] == "ConfigMap")
    assert tenant_manifests.quota_of(record) == QUOTA


def test_a_member_is_read_back_as_it_was_written() -> None:
    member = registry.Member("edge", _member_secret())
    assert (member.identity, member.server, member.kubeconfig()) == ("uid", "https://edge:6443", KUBECONFIG)


def test_a_members_credential_is_in_its_secret_only() -> None:
    secret = _member_secret()
    assert "swordfish" in base64.b64decode(secret["data"].pop("kubeconfig")).decode()
    assert "swordfish" not in json.dumps(secret)


def test_an_operator_is_bound_on_the_whole_hub_and_nobody_else() -> None:
    kinds = {
        role: identities.hub_user("payments", "x", role, None)[1]["kind"]
        for role in ("viewer", "admin", "platform_operator")
    }
    assert kinds == {"viewer": "RoleBinding", "admin": "RoleBinding", "platform_operator": "ClusterRoleBinding"}


def test_operators_of_two_tenants_do_not_share_a_binding() -> None:
    names = {
        identities.hub_user(tenant, "olga", "platform_operator", None)[1]["metadata"]["name"] for tenant in ("a", "b")
    }
    assert len(names) == 2


def test_another_role_is_another_binding() -> None:
    names = {identities.inside_user("payments", "x", role)[1]["metadata"]["name"] for role in ("viewer", "admin")}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tenantry:bob:admin", ("bob", "admin")),
        ("tenantry:viewer", ("", "")),
        ("tenantry:platform-admin", ("", "")),
        ("tenantry:bob:admin:more", ("", "")),
        ("cluster-admin", ("", "")),
        ("other:bob:admin", ("", "")),
    ],
)
def test_a_binding_inside_is_known_by_its_name(name: str, told: tuple[str, str]) -> None:
    assert identities.binding_name(name) == told
    user, role = told
    if user:
        assert name in [obj["metadata"]["name"] for obj in identities.inside_user("payments", user, role)]
