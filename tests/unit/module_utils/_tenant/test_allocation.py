"""QUO-3: what the resources of a tenant add up to, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation

QUOTA = {"cpu": "8", "memory": "16Gi", "storage": "100Gi", "pods": "100", "vclusters": "2"}
RESOURCES = {"cpu": "1500m", "memory": "3Gi", "storage": "5Gi", "pods": "2"}


def test_resources_are_added_exactly():
    used = allocation.total([RESOURCES, {**RESOURCES, "cpu": "250m", "memory": "512Mi"}])
    assert used == {"cpu": "1750m", "memory": "3584Mi", "storage": "10Gi", "pods": "4", "vclusters": "2"}


def test_nothing_is_used_by_nothing():
    assert set(allocation.total([]).values()) == {"0"}


def test_a_namespace_without_a_record_counts_as_one_virtual_cluster():
    assert allocation.total([{}])["vclusters"] == "1"


def test_what_just_fits_is_allowed():
    asked = {**RESOURCES, "cpu": "6500m", "vclusters": "1"}
    allocation.check("payments", QUOTA, allocation.total([RESOURCES]), asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"cpu": "6501m"}, "cpu 6501m asked for, but 6500m left (1500m of 8 used by other virtual clusters)"),
        ({"memory": "14Gi"}, "memory 14Gi asked for, but 13Gi left"),
        ({"storage": "96Gi"}, "storage 96Gi asked for, but 95Gi left"),
        ({"pods": "99"}, "pods 99 asked for, but 98 left"),
        ({"vclusters": "2"}, "vclusters 2 asked for, but 1 left"),
    ],
)
def test_over_the_quota_is_refused_with_what_is_left(asked, told):
    with pytest.raises(TenantryError) as refused:
        allocation.check("payments", QUOTA, allocation.total([RESOURCES]), {**RESOURCES, "vclusters": "1", **asked})
    assert str(refused.value).startswith("quota of tenant payments: ")
    assert told in str(refused.value)
    assert str(refused.value).count("asked for") == 1


def test_nothing_is_left_of_a_quota_lowered_below_its_use():
    with pytest.raises(TenantryError, match="but 0 left"):
        allocation.check(
            "payments", {**QUOTA, "cpu": "1"}, allocation.total([RESOURCES]), {**RESOURCES, "vclusters": "1"}
        )


@pytest.mark.parametrize(
    ("asked", "same"), [(RESOURCES, True), ({**RESOURCES, "pods": "1"}, True), ({**RESOURCES, "cpu": "2"}, False)]
)
def test_growth_is_any_resource_that_grows(asked, same):
    assert allocation.fits(asked, RESOURCES) is same


def test_what_the_quota_names_is_limited_and_nothing_else():
    """QUO-8."""
    asked = {**RESOURCES, "nvidia.com/gpu": "2", "ephemeral_storage": "20Gi", "vclusters": "1"}
    others = allocation.total([{**RESOURCES, "nvidia.com/gpu": "3"}, RESOURCES])
    assert others["nvidia.com/gpu"] == "3"
    more = {**QUOTA, "vclusters": "9"}
    allocation.check("payments", more, others, asked)
    allocation.check("payments", {**more, "nvidia.com/gpu": "5", "ephemeral_storage": "20Gi"}, others, asked)
    with pytest.raises(TenantryError, match=r"nvidia.com/gpu 2 asked for, but 1 left .3 of 4 used by other virtual"):
        allocation.check("payments", {**more, "nvidia.com/gpu": "4"}, others, asked)
