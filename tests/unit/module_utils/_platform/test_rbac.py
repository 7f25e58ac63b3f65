"""The rules of the roles, by the table PERM: what is not in it must not be in them."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import member_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests, rbac

EVERYTHING_FOR_PERSONS = [("inside", role, rbac.INSIDE[role]) for role in ("viewer", "developer", "platform_operator")]
EVERYTHING_FOR_PERSONS += [("hub", role, rules) for role, rules in rbac.HUB.items()]
FOR_THE_PLATFORM = [("member", "platform", rbac.PLATFORM), ("member", "manager", rbac.VCLUSTER_MANAGER)]
FOR_THE_PLATFORM += [("namespace", "syncer", rbac.SYNCER)]


def _may(rules: list[dict], verb: str, resource: str, group: str = "") -> bool:
    return any(
        bool({verb, "*"} & set(rule["verbs"]))
        and bool({resource, "*"} & set(rule.get("resources", ())))
        and bool({group, "*"} & set(rule.get("apiGroups", ())))
        for rule in rules
    )


@pytest.mark.parametrize(("where", "role", "rules"), EVERYTHING_FOR_PERSONS + FOR_THE_PLATFORM)
def test_nothing_is_granted_by_a_wildcard(where: str, role: str, rules: list[dict]) -> None:
    for rule in rules:
        granted = {
            *rule["verbs"],
            *rule.get("resources", ()),
            *rule.get("apiGroups", ()),
            *rule.get("nonResourceURLs", ()),
        }
        assert "*" not in granted, (where, role, rule)


@pytest.mark.parametrize(("where", "role", "rules"), EVERYTHING_FOR_PERSONS)
@pytest.mark.parametrize("verb", ["escalate", "bind", "impersonate", "approve", "sign"])
def test_nobody_becomes_somebody_else(where: str, role: str, rules: list[dict], verb: str) -> None:
    assert not [rule for rule in rules if verb in rule["verbs"]], (where, role)


@pytest.mark.parametrize(("where", "role", "rules"), EVERYTHING_FOR_PERSONS)
@pytest.mark.parametrize(
    "resource",
    [
        "nodes/proxy",
        "serviceaccounts/token",
        "roles",
        "clusterroles",
        "clusterrolebindings",
        "certificatesigningrequests",
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
    ],
)
def test_ways_to_more_rights_are_closed(where: str, role: str, rules: list[dict], resource: str) -> None:
    assert not [rule for rule in rules if resource in rule.get("resources", ())], (where, role)


@pytest.mark.parametrize(
    ("verb", "resource", "roles"),
    [
        ("list", "pods", "viewer developer admin platform_operator"),
        ("list", "events", "viewer developer admin platform_operator"),
        ("get", "pods/log", "viewer developer admin"),
        ("get", "secrets", "developer admin"),
        ("create", "pods", "developer admin"),
        ("create", "pods/exec", "developer admin"),
        ("create", "pods/portforward", "developer admin"),
    ],
)
def test_the_table_inside_a_virtual_cluster(verb: str, resource: str, roles: str) -> None:
    assert {role for role, rules in rbac.INSIDE.items() if _may(rules, verb, resource)} == set(roles.split())


@pytest.mark.parametrize(
    ("verb", "resource", "group", "roles"),
    [
        ("list", "configmaps", "", "viewer developer admin platform_operator"),
        ("get", "secrets", "", ""),
        ("create", "pods", "", ""),
        ("create", "pods/exec", "", ""),
        ("update", "resourcequotas", "", "platform_operator"),
        ("create", "namespaces", "", "platform_operator"),
        ("create", "networkpolicies", "networking.k8s.io", "platform_operator"),
        ("create", "rolebindings", "rbac.authorization.k8s.io", ""),
        ("list", "serviceaccounts", "", "admin platform_operator"),
    ],
)
def test_the_table_on_the_hub(verb: str, resource: str, group: str, roles: str) -> None:
    assert {role for role, rules in rbac.HUB.items() if _may(rules, verb, resource, group)} == set(roles.split())


def test_the_platform_reads_secrets_of_virtual_clusters_only() -> None:
    assert not _may(rbac.PLATFORM, "get", "secrets")
    assert _may(rbac.VCLUSTER_MANAGER, "get", "secrets")
    (binding,) = [o for o in member_manifests.member_objects("uid") if o["kind"] == "ClusterRoleBinding"]
    assert binding["roleRef"]["name"] == rbac.PLATFORM_ROLE


def test_the_platform_may_bind_one_role() -> None:
    (rule,) = [rule for rule in rbac.PLATFORM if "bind" in rule["verbs"]]
    assert (rule["resources"], rule["resourceNames"]) == (["clusterroles"], [rbac.MANAGER_ROLE])


def test_the_manager_has_what_the_syncer_is_granted() -> None:
    """An API server lets nobody grant what he has not."""
    for rule in rbac.SYNCER:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    assert _may(rbac.VCLUSTER_MANAGER, verb, resource, group), (verb, resource)


def test_the_manager_may_bind_the_syncers_role_and_escalate_none() -> None:
    (rule,) = [rule for rule in rbac.VCLUSTER_MANAGER if "bind" in rule["verbs"]]
    assert (rule["resources"], rule["resourceNames"]) == (["roles"], [rbac.SYNCER_ROLE])
    assert not [rule for rule in rbac.VCLUSTER_MANAGER + rbac.PLATFORM if "escalate" in rule["verbs"]]


def test_the_platform_changes_roles_and_pods_in_virtual_clusters_only() -> None:
    assert not _may(rbac.PLATFORM, "create", "roles", "rbac.authorization.k8s.io")
    assert not _may(rbac.PLATFORM, "create", "pods")
    assert not _may(rbac.PLATFORM, "create", "pods/exec")


@pytest.mark.parametrize(
    "resource", ["serviceaccounts", "serviceaccounts/token", "nodes", "pods/binding", "namespaces"]
)
def test_the_syncer_has_no_way_out_of_its_namespace(resource: str) -> None:
    assert not [rule for rule in rbac.SYNCER if resource in rule["resources"]]
    assert {"escalate", "bind", "impersonate", "deletecollection"}.isdisjoint(
        verb for rule in rbac.SYNCER for verb in rule["verbs"]
    )


def test_in_its_own_namespace_the_platform_may_end_itself_and_ask_for_a_service() -> None:
    here = [o for o in member_manifests.member_objects("uid") if o["kind"] == "Role"]
    assert [rule for role in here for rule in role["rules"]] == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts"],
            "resourceNames": [member_manifests.ACCOUNT],
            "verbs": ["delete"],
        },
        {"apiGroups": [""], "resources": ["services"], "verbs": ["create"]},
    ]
    assert {role["metadata"]["namespace"] for role in here} == {"tenantry-system"}


def test_hub_and_member_grant_the_same_to_manage_virtual_clusters() -> None:
    def manager(objects: list[dict]) -> list[dict]:
        return next(o["rules"] for o in objects if o["metadata"]["name"] == rbac.MANAGER_ROLE)

    assert manager(manifests.platform_objects("uid")) == manager(member_manifests.member_objects("uid"))
