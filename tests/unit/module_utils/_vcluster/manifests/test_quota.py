"""The quotas of a virtual cluster of mode shared."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac

from ..example import SHARED
from ..shared_objects import PARTS, objects, syncer_config


@pytest.mark.parametrize("tier", ["dev", "prod"])
def test_the_server_fits_into_the_smallest_resources(tier):
    found = objects(tier=tier, resources={"cpu": "1500m", "memory": "1152Mi", "pods": 2, "ephemeral_storage": "1280Mi"})
    hard = found["ResourceQuota", "vcluster"]["spec"]["hard"]
    for resource in ("cpu", "memory", "ephemeral-storage"):
        for which in ("limits", "requests"):
            containers = [
                one for part in PARTS for one in found["StatefulSet", part]["spec"]["template"]["spec"]["containers"]
            ]
            amounts = [quantities.parse(one["resources"][which][resource], "amount") for one in containers]
            assert sum(amounts) <= quantities.parse(hard[f"{which}.{resource}"], "amount"), (which, resource)


def creatable():
    """The resources that the Role of the syncer lets it create, as a quota names their number."""
    for rule in rbac.SYNCER:
        for resource in rule["resources"]:
            if "create" in rule["verbs"] and "/" not in resource:
                yield ".".join(part for part in (resource, *rule["apiGroups"]) if part)


def test_quota_counts_every_kind_that_the_syncer_can_create():
    """KIND-3: objects. A kind that is added to the Role is missing here until the quota has it."""
    hard = {key for (kind, _name), obj in objects().items() if kind == "ResourceQuota" for key in obj["spec"]["hard"]}
    assert len(set(creatable())) > 5
    for resource in creatable():
        alone = {resource} if resource in ("persistentvolumeclaims", "services") else set()
        assert hard & {f"count/{resource}", *alone}, resource


def test_quota_of_pods_leaves_the_servers_their_part():
    found = objects(resources={"cpu": "4", "memory": "4Gi", "pods": 20, "extended": {"nvidia.com/gpu": 2}})
    quota = found["ResourceQuota", "vcluster-pods"]["spec"]
    own = [found["StatefulSet", part]["spec"]["template"]["spec"]["priorityClassName"] for part in PARTS]
    (only,) = quota["scopeSelector"]["matchExpressions"]
    assert (only["scopeName"], only["values"]) == ("PriorityClass", [syncer_config()["priority_class"]])
    assert own == ["tenantry-dev-server", "tenantry-dev-server"]
    assert quota["hard"] == {
        "requests.cpu": "2500m",
        "limits.cpu": "2500m",
        "requests.memory": "2944Mi",
        "limits.memory": "2944Mi",
        "pods": "18",
        "count/pods": "218",
    }
    assert found["ResourceQuota", "vcluster"]["spec"]["hard"]["requests.nvidia.com/gpu"] == "2"


def test_claims_are_limited_by_the_storage_they_ask_for():
    hard = objects()["ResourceQuota", "vcluster"]["spec"]["hard"]
    assert int(hard["persistentvolumeclaims"]) > 1
    assert {"services", "count/secrets", "count/configmaps"} <= set(hard)
    assert hard["requests.storage"] == "5Gi"
    assert (hard["services.nodeports"], hard["services.loadbalancers"], hard["pods"]) == ("1", "0", "20")


@pytest.mark.parametrize(
    ("way", "given", "hard"),
    [
        ("ClusterIP", {}, ("0", "0")),
        ("NodePort", {}, ("1", "0")),
        ("LoadBalancer", {}, ("1", "1")),
        ("ClusterIP", {"node_ports": 3, "load_balancers": 2}, ("3", "2")),
        ("NodePort", {"node_ports": 3}, ("3", "0")),
    ],
)
def test_ways_from_outside_that_the_resources_allow(way, given, hard):
    hard_now = objects(resources={**SHARED["resources"], **given}, expose={"type": way, "address": None})[
        "ResourceQuota", "vcluster"
    ]["spec"]["hard"]
    assert (hard_now["services.nodeports"], hard_now["services.loadbalancers"]) == hard


def test_resources_have_what_the_api_itself_takes():
    with pytest.raises(TenantryError, match=r"resources\.node_ports: 0 is too small"):
        objects(resources={**SHARED["resources"], "node_ports": 0})
