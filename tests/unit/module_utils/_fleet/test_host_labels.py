from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import member_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels

HAD = HostLabels({"a": "b"}, (Taint("old", "x"),))


def test_of_reads_what_a_member_was_joined_with() -> None:
    secret = member_manifests.member_secret("edge", {}, identity="", server="", version="", expires="", labels=HAD)
    assert HostLabels.of(secret) == HAD


@pytest.mark.parametrize("obj", [None, {"metadata": {}}, {"metadata": {"annotations": {"x": "y"}}}])
def test_of_without_annotations_is_empty(obj: dict | None) -> None:
    assert HostLabels.of(obj) == HostLabels({}, ())


@pytest.mark.parametrize(
    ("item", "then"),
    [
        ({"labels": None, "taints": None}, HAD),
        ({"labels": {}, "taints": []}, HostLabels({}, ())),
        ({"labels": {"c": "d"}, "taints": None}, HostLabels({"c": "d"}, HAD.taints)),
        ({"labels": None, "taints": [{"key": "new", "value": None}]}, HostLabels({"a": "b"}, (Taint("new"),))),
    ],
)
def test_over_keeps_what_is_not_set(item: dict, then: HostLabels) -> None:
    assert HostLabels.desired(item).over(HAD) == then


def test_annotations_only_for_what_there_is() -> None:
    assert HostLabels({}, ()).annotations() == {}
    assert HAD.annotations() == {
        "tenantry.dev/labels": '{"a": "b"}',
        "tenantry.dev/taints": '[{"key": "old", "value": "x"}]',
    }


def test_desired_refuses_what_kubernetes_would() -> None:
    with pytest.raises(TenantryError, match=r"labels: .* is not a label"):
        HostLabels.desired({"labels": {"region": 1}, "taints": None})
