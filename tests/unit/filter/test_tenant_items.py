from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tenantry.kube.plugins.filter.tenant_items import FilterModule

tenant_items = FilterModule().filters()["tenant_items"]
TENANTS = [
    {
        "name": "payments",
        "users": [{"name": "alice", "role": "admin"}],
        "vclusters": [{"name": "dev", "server": {"cpu": 1}}, {"name": "stage"}],
    },
    {"name": "research", "users": None},
]


def test_items_are_flat_and_know_their_tenant() -> None:
    [alice] = tenant_items(TENANTS, "users", directory="/d")
    assert (alice["name"], alice["role"], alice["tenant"]) == ("alice", "admin", "payments")


def test_without_a_directory_a_kubeconfig_is_in_a_secret_of_the_tenant() -> None:
    [alice] = tenant_items(TENANTS, "users")
    secret = {"namespace": "tenant-payments", "name": "inventory-kubeconfig-alice"}
    assert alice["kubeconfigs"] == [{"name": "default", "secret": secret}]
    assert "kubeconfig_path" not in alice
    own = [{"name": "a", "users": [{"name": "alice", "kubeconfig_path": "/own"}]}]
    assert "kubeconfigs" not in tenant_items(own, "users")[0]
    assert all("kubeconfig_path" not in one for one in tenant_items(TENANTS, "vclusters"))


def test_defaults_lie_under_the_item_and_dictionaries_merge() -> None:
    dev, stage = tenant_items(TENANTS, "vclusters", defaults={"version": "v1", "server": {"cpu": 2, "memory": "1Gi"}})
    assert dev["server"] == {"cpu": 1, "memory": "1Gi"}
    assert stage["server"] == {"cpu": 2, "memory": "1Gi"}
    assert dev["version"] == "v1"


def test_an_item_cannot_name_another_tenant() -> None:
    foreign = [{"name": "payments", "vclusters": [{"name": "dev", "tenant": "research"}]}]
    assert tenant_items(foreign, "vclusters")[0]["tenant"] == "payments"


def test_file_names() -> None:
    assert tenant_items(TENANTS, "users", directory="/d")[0]["kubeconfig_path"] == "/d/alice.yaml"
    assert tenant_items(TENANTS, "vclusters", directory="/d")[0]["kubeconfig_path"] == "/d/payments--dev.yaml"


def test_a_path_of_its_own_is_kept() -> None:
    own = [{"name": "a", "users": [{"name": "alice", "kubeconfig_path": "/own"}]}]
    assert tenant_items(own, "users", directory="/d")[0]["kubeconfig_path"] == "/own"


def test_a_user_with_kubeconfigs_gets_these_and_no_other() -> None:
    own = [{"name": "a", "users": [{"name": "alice", "kubeconfigs": [{"name": "laptop", "path": "/own"}]}]}]
    assert "kubeconfig_path" not in tenant_items(own, "users", directory="/d")[0]


def test_a_quota_is_what_is_left_of_the_tenant() -> None:
    tenants = [TENANTS[0] | {"display_name": "P", "quota": {"cpu": 8}}, TENANTS[1]]
    assert tenant_items(tenants, "quotas") == [
        {"tenant": "payments", "display_name": "P", "quota": {"cpu": 8}},
        {"tenant": "research"},
    ]


def test_the_inventory_is_left_as_it_is() -> None:
    tenant_items(TENANTS, "vclusters", defaults={"server": {"memory": "1Gi"}}, directory="/d")
    assert TENANTS[0]["vclusters"][0] == {"name": "dev", "server": {"cpu": 1}}


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="none of quotas, users, vclusters"):
        tenant_items(TENANTS, "clusters")
