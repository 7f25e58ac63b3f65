"""What a quota refuses while another run makes it. The moment between counting and storing cannot be provoked."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, QuotaExceeded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import apply as kubernetes_apply

CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "a--b"}}


class Cluster:
    """Refuses a second claim until the first one can be read, which is after so many looks."""

    def __init__(self, looks: int | None, refusal: ApiError) -> None:
        self.looks, self.refusal, self.applied = looks, refusal, 0

    def map(self, function, items):
        return [function(item) for item in items]

    def get(self, kind, name, namespace):
        if self.looks is None:
            return None
        self.looks -= 1
        return CLAIM if self.looks < 0 else None

    def apply(self, obj, *, force):
        self.applied += 1
        if self.looks is None or self.looks >= 0:
            raise self.refusal
        return obj


def plan(cluster: Cluster) -> kubernetes_apply.Plan:
    action = kubernetes_apply.Action("v1/PersistentVolumeClaim", "a--b", "data", "create", after=CLAIM)
    return kubernetes_apply.Plan(cluster, [action], kubernetes_apply.Inventory())


def test_it_is_counted_before_it_can_be_read() -> None:
    cluster = Cluster(3, QuotaExceeded("403 exceeded quota: vcluster", 403))
    plan(cluster).execute()
    assert cluster.applied == 2


@pytest.mark.parametrize("kind", [QuotaExceeded, ApiError])
def test_what_nobody_makes_is_refused(monkeypatch: pytest.MonkeyPatch, kind: type[ApiError]) -> None:
    monkeypatch.setattr(kubernetes_apply, "COUNTED_AHEAD", 0.3)
    with pytest.raises(kind, match="refused"):
        plan(Cluster(None, kind("refused", 403))).execute()
