"""The options of the reconciler, and when it counts as ready."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import hub_reconciler

GIVEN = {
    "image": "example.com/ee:1",
    "inventory": '{"fleet_hub": {"hosts": {"hub": {}}}}',
    "schedule": list(hub_reconciler.SCHEDULE),
    "image_pull_secrets": [],
    "dedicated": False,
    "metrics_namespace": None,
    "wait": True,
}


def test_none_is_wanted_without_the_option() -> None:
    assert hub_reconciler.spec_of(None) is None


def test_intervals_are_seconds() -> None:
    spec = hub_reconciler.spec_of(GIVEN)
    assert spec
    assert spec.schedule == {"self_service": 300, "housekeeping": 600}


@pytest.mark.parametrize("dedicated", [False, True])
def test_dedicated_is_passed_on(dedicated: bool) -> None:
    spec = hub_reconciler.spec_of({**GIVEN, "dedicated": dedicated})
    assert spec
    assert spec.dedicated == dedicated


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("image", " ", "reconciler.image: is empty"),
        ("inventory", "swordfish: [", "reconciler.inventory: is not YAML"),
        ("inventory", "swordfish", "reconciler.inventory: has no group fleet_hub"),
        ("inventory", "fleet_hub: {vars: {password: swordfish}}", "reconciler.inventory: has no group fleet_hub"),
        (
            "metrics_namespace",
            "Monitoring",
            'metrics_namespace: "Monitoring" is not the name of a namespace. Set that of',
        ),
        ("schedule", [], "reconciler.schedule: is empty"),
        ("schedule", [{"playbook": "housekeeping", "every": "10s"}], "is too short. Use 30s or more"),
        (
            "schedule",
            [{"playbook": "housekeeping", "every": "often"}],
            'every of housekeeping: "often" is not a duration',
        ),
        ("schedule", [{"playbook": "housekeeping", "every": "1h"}] * 2, "housekeeping is given twice"),
    ],
)
def test_an_invalid_option_is_named(option: str, value: Any, line: str) -> None:
    with pytest.raises(TenantryError) as error:
        hub_reconciler.spec_of({**GIVEN, option: value})
    assert line in str(error.value)
    assert "swordfish" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, False),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, True),
    ],
)
def test_an_earlier_pod_does_not_count(status: dict, ready: bool) -> None:
    assert hub_reconciler._is_available({"metadata": {"generation": 2}, "status": status}) == ready
