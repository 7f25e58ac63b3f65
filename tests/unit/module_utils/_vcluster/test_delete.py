"""The deletion of a virtual cluster, on a host in memory: which pods get how long, and what follows when they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import PART_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import delete
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.syncer import DNS_LABELS

from .example import render
from .fake_host import FakeHost

SPACE = "payments--dev"


class EmptyingHost(FakeHost):
    """It deletes a namespace only after all of its pods, which end when they are watched."""

    def __init__(self) -> None:
        super().__init__("hub")
        self.graces: dict[str, int | None] = {}
        self.notes: dict[str, str] = {}

    def delete(self, kind: str, name: str, namespace: str | None = None, **options: Any) -> bool:
        if kind == "v1/Pod":
            self.graces.setdefault(name, options.get("grace"))
        return kind == "v1/Namespace" or super().delete(kind, name, namespace)

    def list(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[dict]:
        found = super().list(kind, namespace, selector)
        if kind == "v1/Pod" and selector is None:  # a wait for the end of all of them
            self._end_pods()
        return found

    def watch(self, kind: str, namespace: str | None = None, **_options: Any) -> Iterator[tuple[str, dict]]:
        yield from ()

    def merge(self, kind: str, name: str, namespace: str | None, body: dict) -> dict:
        self.notes |= body["metadata"]["annotations"]
        return {}

    def _end_pods(self) -> None:
        self.objects = {key: obj for key, obj in self.objects.items() if key.kind != "v1/Pod"}


@pytest.fixture
def host() -> EmptyingHost:
    found = EmptyingHost()
    for obj in cluster.everything(render(agents=1)):
        found.apply(obj)
    labels = naming.labels("vcluster", tenant="payments", vcluster="dev")
    for part in ("server", "syncer", "agent"):
        found.apply(_pod(f"{part}-0", {**labels, PART_LABEL: part}))
    by_syncer = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY_SYNCER}
    found.apply(_pod("coredns", DNS_LABELS, terminationGracePeriodSeconds=30))
    found.apply(_pod("web", by_syncer, terminationGracePeriodSeconds=5))
    found.apply(_pod("batch", by_syncer, terminationGracePeriodSeconds=3600))
    return found


def test_only_servers_and_dns_end_without_grace_period(host: EmptyingHost) -> None:
    delete.execute(delete.plan(host, "payments", "dev"), host, SPACE, None)  # type: ignore[arg-type]  # a fake
    assert host.graces == {"server-0": 1, "syncer-0": 1, "coredns": 1, "web": 5, "batch": 30}


@pytest.mark.parametrize(("first_look", "told"), [(60, False), (-1, True)])
def test_namespace_is_changed_if_pods_end_after_the_first_look(
    host: EmptyingHost, monkeypatch: pytest.MonkeyPatch, first_look: int, told: bool
) -> None:
    """Kubernetes looks at it some seconds after each change."""
    monkeypatch.setattr(delete, "FIRST_LOOK", first_look)
    plan = delete.plan(host, "payments", "dev")  # type: ignore[arg-type]  # a fake
    host.objects = {key: obj for key, obj in host.objects.items() if key.kind != "v1/Namespace"}
    delete.execute(plan, host, SPACE, Deadline(5))  # type: ignore[arg-type]  # a fake
    assert (delete.EMPTIED in host.notes) == told
    assert host.list("v1/Pod", SPACE, "") == []


def _pod(name: str, labels: dict[str, str], **spec: Any) -> dict:
    metadata = {"name": name, "namespace": SPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
