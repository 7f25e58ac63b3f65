from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import labels
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint, Toleration


@pytest.mark.parametrize("given", [{}, {"region": "eu"}, {"example.com/tier": "a.b_c-1"}, {"empty": ""}])
def test_check_labels_allows_those_of_kubernetes(given: dict[str, str]) -> None:
    assert labels.check_labels(given, "labels") == given


@pytest.mark.parametrize(
    "given", [{"-a": "b"}, {"a": True}, {"a": 1}, {"a": "b c"}, {"a": "x" * 64}, {"": "a"}, {1: "a"}]
)
def test_check_labels_refuses_others(given: dict) -> None:
    with pytest.raises(TenantryError, match=r"labels: .* is not a label"):
        labels.check_labels(given, "labels")


def test_check_taints_sorts_them() -> None:
    given = [{"key": "b", "value": None}, {"key": "a", "value": "x"}, {"key": "b"}]
    assert labels.check_taints(given, "taints") == (Taint("a", "x"), Taint("b"))


@pytest.mark.parametrize("given", [{"key": "a b"}, {"key": "a", "value": "x y"}])
def test_check_taints_refuses_others(given: dict[str, str]) -> None:
    with pytest.raises(TenantryError, match=r"taints\."):
        labels.check_taints([given], "taints")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "a", "value": "x"}, [Taint("a", "x")]),
        ({"key": "a", "operator": "Exists"}, [Taint("a", "x"), Taint("a")]),
        ({"key": "a"}, [Taint("a")]),
        ({"operator": "Exists"}, [Taint("a", "x"), Taint("a"), Taint("b")]),
    ],
)
def test_tolerates_as_kubernetes_does(toleration: dict, tolerated: list[Taint]) -> None:
    taints = [Taint("a", "x"), Taint("a"), Taint("b")]
    assert [one for one in taints if Toleration.of(toleration).tolerates(one)] == tolerated
    assert labels.untolerated(taints, [Toleration.of(toleration)]) == [one for one in taints if one not in tolerated]
