"""Waits against a real API server: what they say when their time is over."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for, wait_gone

KIND = "v1/ConfigMap"


def _config_map(namespace: str, *finalizers: str) -> dict[str, Any]:
    metadata = {"name": "c", "namespace": namespace, "finalizers": list(finalizers)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_the_refusal_of_a_quota_is_named(cluster: Cluster, namespace: str) -> None:
    quota = {"hard": {"pods": "0"}}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "vcluster", "namespace": namespace},
            "spec": quota,
        }
    )
    # After a kind was removed (by the tests before this one), the quota controller waits half a minute for it.
    wait_for(
        cluster, "v1/ResourceQuota", "vcluster", namespace, lambda o: "hard" in o["status"], Deadline(90), what="quota"
    )
    pod = {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "c", "image": "example.com/none:1"}]}}
    spec = {"replicas": 1, "serviceName": "s", "selector": {"matchLabels": {"app": "s"}}, "template": pod}
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "s", "namespace": namespace},
            "spec": spec,
        }
    )
    told: list[tuple[str, str, float]] = []
    begun = time.monotonic()
    deadline = Deadline(10, lambda what, reason: told.append((what, reason, time.monotonic() - begun)))
    with pytest.raises(TenantryError, match=r"^server: not ready within 10 s: .*StatefulSet s: FailedCreate: .*quota"):
        wait_for(
            cluster,
            "apps/v1/StatefulSet",
            "s",
            namespace,
            lambda obj: obj["status"].get("readyReplicas") == 1,
            deadline,
            what="server",
        )
    (what, reason, seconds), *others = told
    assert what == "server"
    assert "FailedCreate" in reason
    assert seconds < 5.5
    assert reason not in {other for _what, other, _seconds in others}, "each reason once"


def test_what_does_not_exist_is_named(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(TenantryError, match=r"^c: not ready within 1 s: c does not exist. Remove the cause or raise"):
        wait_for(cluster, KIND, "c", namespace, lambda obj: True, Deadline(1), what="c")


def test_a_hopeless_wait_ends_early(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_config_map(namespace))
    deadline = Deadline(60)

    def ready(obj: dict[str, Any]) -> bool:
        raise TenantryError("hopeless")

    with pytest.raises(TenantryError, match=r"^hopeless$"):
        wait_for(cluster, KIND, "c", namespace, ready, deadline, what="c")
    assert deadline.remaining() > 55


def test_a_deletion_is_seen_at_once(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_config_map(namespace))
    threading.Timer(0.5, cluster.delete, [KIND, "c", namespace]).start()
    deadline = Deadline(30)
    wait_gone(cluster, KIND, "c", namespace, deadline, what="c")
    assert deadline.remaining() > 28
    wait_gone(cluster, KIND, "c", namespace, deadline, what="c")


def test_a_foreign_finalizer_is_named_and_kept(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_config_map(namespace, "example.com/hold"))
    cluster.delete(KIND, "c", namespace)
    with pytest.raises(TenantryError, match=r"^c: not gone within 1 s: finalizer example\.com/hold on ConfigMap c. "):
        wait_gone(cluster, KIND, "c", namespace, Deadline(1), what="c")
    assert cluster.get(KIND, "c", namespace)["metadata"]["finalizers"] == ["example.com/hold"]
    cluster.apply(_config_map(namespace))
    wait_gone(cluster, KIND, "c", namespace, Deadline(30), what="c")
