"""QUO-8: resources by the names of options and by those of a ResourceQuota."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import (
    counted_in,
    in_order,
    parse_extended,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .._vcluster.example import SHARED, make_item

GIVEN = {"nvidia.com/gpu": 2, "hugepages-2Mi": "1024Mi"}


def test_resource_quota_has_each_resource_of_a_virtual_cluster() -> None:
    """None is dropped on the way to the host and back, whatever its name."""
    further = {"ephemeral_storage": "50Gi", "node_ports": 3, "load_balancers": 2, "extended": GIVEN}
    item = make_item(**{**SHARED, "resources": {**SHARED["resources"], **further}})
    resources = parse(item).resources
    assert counted_in(resources.hard()) == resources.as_text()
    assert in_order(resources.as_text())[:4] == ["cpu", "memory", "storage", "pods"]
    assert {"nvidia.com/gpu", "hugepages-2Mi", "ephemeral_storage"} <= {*in_order(resources.as_text())}


def test_what_is_no_resource_is_left_out() -> None:
    quota = {"requests.cpu": "1", "count/secrets": "3", "services": "4", "requests.storage": "1Gi"}
    assert counted_in(quota) == {"storage": "1Gi"}


def test_amounts_are_canonical() -> None:
    assert parse_extended(GIVEN, "quota.extended") == {"nvidia.com/gpu": "2", "hugepages-2Mi": "1Gi"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"gpu": 1}, 'quota.extended: "gpu" is not the name of an extended resource. Use one such as nvidia.com/gpu'),
        ({"kubernetes.io/gpu": 1}, 'quota.extended: "kubernetes.io/gpu" is not the name'),
        ({"nvidia.com/gpu": "500m"}, 'quota.extended.nvidia.com/gpu: "500m" is not a whole number'),
        ({"nvidia.com/gpu": "many"}, 'quota.extended.nvidia.com/gpu: "many" is not a quantity'),
    ],
)
def test_other_names_and_amounts_are_refused(given: dict, problem: str) -> None:
    with pytest.raises(TenantryError) as refused:
        parse_extended(given, "quota.extended")
    assert problem in str(refused.value)
