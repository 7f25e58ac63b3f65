"""Rights in namespaces that were created without them, on a hub in memory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._platform import confinement
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.platform_rights import grant_missing


class Hub:
    """Has namespaces without any binding, and refuses some."""

    def __init__(self, spaces: dict[str, dict[str, str]], refused: dict[str, int]) -> None:
        self.spaces, self.refused = spaces, refused
        self.bound: list[str] = []

    def whoami(self) -> str:
        return confinement.ACCOUNT

    def list(self, kind: str, *, selector: str) -> list[dict]:
        assert naming.MANAGED_BY in selector
        found = [{"metadata": {"name": name, "labels": labels}} for name, labels in self.spaces.items()]
        return found if kind == NAMESPACE else []

    def create(self, binding: dict) -> None:
        name = binding["metadata"]["namespace"]
        if name in self.refused:
            raise ApiError(f"{name}: refused", self.refused[name])
        self.bound.append(name)


def granted(refused: dict[str, int], problem: str = "") -> list[str]:
    """The namespaces with a binding afterwards."""
    unlabelled = naming.labels("tenant", tenant="a")
    del unlabelled[naming.LABEL_COMPONENT]
    tenants = {f"tenant-{name}": naming.labels("tenant", tenant=name) for name in "abc"}
    hub: Any = Hub({"other": unlabelled, **tenants}, refused)
    if problem:
        with pytest.raises(TenantryError, match=problem):
            grant_missing(hub)
    else:
        grant_missing(hub)
    return hub.bound


def test_a_namespace_without_a_component_gets_none() -> None:
    assert granted({}) == ["tenant-a", "tenant-b", "tenant-c"]


def test_one_that_is_refused_keeps_no_other_from_its_rights() -> None:
    assert granted({"tenant-a": 409}) == ["tenant-b", "tenant-c"]
    assert granted({"tenant-a": 403, "tenant-b": 404}, "^tenant-a: refused; tenant-b: refused$") == ["tenant-c"]


def test_a_hub_that_does_not_answer_is_not_asked_for_each() -> None:
    assert granted({"tenant-b": 0}, "^tenant-b: refused$") == ["tenant-a"]
