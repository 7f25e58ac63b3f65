from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Toleration
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import WEIGHTS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.host_placement import (
    HostPlacement,
    parse_host_placement,
)


def test_parse_without_the_option_is_none() -> None:
    assert parse_host_placement(None) is None


def test_parse_empty_has_no_conditions() -> None:
    assert parse_host_placement({}) == HostPlacement()


def test_parse_all_suboptions() -> None:
    given = {
        "match_labels": {"region": "eu"},
        "tolerations": [{"key": "old", "operator": "Exists", "value": None}, {"operator": "Exists"}],
        "spread_by": "zone",
        "weights": {"spread": 5, "allocatable_cpu": None},
    }
    tolerations = (Toleration("old", "Exists"), Toleration("", "Exists"))
    assert parse_host_placement(given) == HostPlacement({"region": "eu"}, tolerations, "zone", {**WEIGHTS, "spread": 5})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"match_labels": {"region": True}}, "placement.match_labels"),
        ({"tolerations": [{"value": "x"}]}, "placement.tolerations: .* has no key"),
        ({"spread_by": "a b"}, "placement.spread_by"),
        ({"weights": {"spread": 11}}, "placement.weights.spread: 11 is not between -10 and 10"),
    ],
)
def test_parse_refuses(given: dict, problem: str) -> None:
    with pytest.raises(TenantryError, match=problem):
        parse_host_placement(given)
