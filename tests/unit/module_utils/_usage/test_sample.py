"""A sample from objects of hosts, also from those that hold nonsense."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import newest_record
from ansible_collections.tenantry.kube.plugins.module_utils._usage import sample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Amounts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.housekeeping import NOTES_ANNOTATION

STARTED = "2026-11-30T08:00:00Z"
ROW = {"tier": "dev", "mode": "shared", "status": "Ready", "version": "v1.37.2+k3s1", "message": None, "expires": None}
USED = {"requests.cpu": "1500m", "requests.memory": "1Gi", "limits.cpu": "2", "limits.memory": "2Gi", "pods": "3"}
USED |= {
    "requests.storage": "5Gi",
    "services.nodeports": "1",
    "requests.nvidia.com/gpu": "2",
    "requests.hugepages-2Mi": "0",
}


def virtual_cluster(record: dict[str, Any] | None = None, **annotations: str) -> VirtualCluster:
    spec = {"resources": {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": "10"}, "format": 1, **(record or {})}
    labels = {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev"}
    meta = {"name": "payments--dev", "labels": labels, "creationTimestamp": STARTED}
    host: Any = SimpleNamespace(name="hub")
    return VirtualCluster(
        host, {"metadata": {**meta, "annotations": {SPEC_ANNOTATION: json.dumps(spec), **annotations}}}
    )


def facts(**other: Any) -> sample.HostFacts:
    usual: dict[str, Any] = {
        "nodes": [],
        "rows": {"payments--dev": ROW},
        "quotas": {"payments--dev": {"status": {"used": USED}}},
    }
    return sample.HostFacts(**{**usual, **other})


def one_of(found: VirtualCluster, known: sample.HostFacts) -> sample.VClusterSample:
    (one,) = sample.vcluster_samples([found], known)
    return one


def usage(namespace: str, *containers: dict[str, str]) -> dict:
    return {"metadata": {"namespace": namespace}, "containers": [{"usage": one} for one in containers]}


def test_virtual_cluster_by_its_quota_and_metrics() -> None:
    metrics = [
        usage("payments--dev", {"cpu": "100000000n", "memory": "1Mi"}, {"cpu": "1u", "memory": "1Ki"}),
        usage("payments--dev", {"cpu": "0.5", "memory": "1Mi"}),
        usage("other", {"cpu": "7", "memory": "1Gi"}),
    ]
    one = one_of(virtual_cluster(), facts(pod_metrics=metrics))
    assert one.promised == Amounts(Decimal(4), Decimal(8 * 1024**3))
    assert one.requested == Amounts(Decimal("1.5"), Decimal(1024**3))
    assert one.limited == Amounts(Decimal(2), Decimal(2 * 1024**3))
    assert one.used == Amounts(Decimal("0.600001"), Decimal(2 * 1024**2 + 1024))
    assert (one.storage, one.pods, one.node_ports, one.load_balancers) == (5 * 1024**3, 3, 1, 0)
    assert (one.extended, one.gpus) == ({"nvidia.com/gpu": 2, "hugepages-2Mi": 0}, 2)


def test_resources_of_a_paused_virtual_cluster_are_those_of_its_record() -> None:
    one = one_of(virtual_cluster({"paused": {"cpu": "250m"}}), facts())
    assert (one.promised.cpu, one.resources and one.resources["cpu"]) == (Decimal("0.25"), 4)
    assert one_of(virtual_cluster({"resources": "all"}), facts()).resources is None


def test_requests_of_the_platforms_own_pods() -> None:
    def pod(namespace: str, cpu: str, **status: str) -> dict:
        resources = {"requests": {"cpu": cpu, "memory": "1Gi"}}
        return {
            "metadata": {"namespace": namespace},
            "spec": {"containers": [{"resources": resources}]},
            "status": status,
        }

    pods = [pod("payments--dev", "750m"), pod("payments--dev", "250m"), pod("other", "7")]
    pods.append(pod("payments--dev", "9", phase="Succeeded"))
    one = one_of(virtual_cluster(), facts(control_plane=pods))
    assert one.platform == Amounts(Decimal(1), Decimal(2 * 1024**3))
    assert one_of(virtual_cluster(), facts()).platform == Amounts()


def test_no_pod_uses_nothing_but_without_metrics_nothing_is_known() -> None:
    assert one_of(virtual_cluster(), facts(pod_metrics=[])).used == Amounts()
    assert one_of(virtual_cluster(), facts(pod_metrics=None)).used is None


def test_times_of_a_virtual_cluster() -> None:
    notes = {"slept": None, "why": None, "sample": [1, 2, 3], "since": "2026-11-20T09:00:00Z"}
    newest = {"snapshot": "x", "sequence": int(datetime(2026, 11, 29, tzinfo=UTC).timestamp())}
    found = virtual_cluster(**{NOTES_ANNOTATION: json.dumps(notes), newest_record.ANNOTATION: json.dumps(newest)})
    running = [{"name": "k3s", "state": {"running": {"startedAt": STARTED}}}]
    pod = {"metadata": {"namespace": "payments--dev"}, "spec": {}}
    one = one_of(found, facts(control_plane=[{**pod, "status": {"containerStatuses": running}}, pod]))
    assert one.idle_since == moment("2026-11-20T09:00:00Z")
    assert one.snapshot == moment("2026-11-29T00:00:00Z")
    assert one.certificates_valid_until == moment(STARTED) + timedelta(days=90)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"sequence": "x"}', '{"sequence": 1e30}'])
def test_nonsense_on_a_namespace_is_unknown(text: str) -> None:
    one = one_of(virtual_cluster(**{NOTES_ANNOTATION: text, newest_record.ANNOTATION: text}), facts())
    assert (one.idle_since, one.snapshot) == (None, None)


def test_nonsense_in_metrics_is_nothing() -> None:
    metrics = [usage("payments--dev", {"cpu": "lots", "memory": "-1"}, {"cpu": "1"})]
    assert one_of(virtual_cluster(), facts(pod_metrics=metrics)).used == Amounts(Decimal(1), Decimal(0))


def test_tenant_is_as_old_as_its_namespace() -> None:
    """Somebody may delete its record, which then is new."""
    meta = {"labels": {"tenantry.dev/tenant": "payments"}}
    record = {"metadata": meta, "data": {"quota": '{"cpu": "500m", "vclusters": "2"}', "display_name": ""}}
    one = sample.tenant_sample(record, {"metadata": {**meta, "creationTimestamp": STARTED}})
    assert (one.name, one.display_name, one.created) == ("payments", "payments", moment(STARTED))
    assert one.quota == {"cpu": Decimal("0.5"), "vclusters": 2}


def test_cluster_is_the_sum_of_its_nodes() -> None:
    capacity = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    node = {"status": {"capacity": capacity, "allocatable": {"cpu": "3800m", "memory": "15Gi"}}}
    metrics = [{"usage": {"cpu": "1", "memory": "2Gi"}}] * 2
    one = sample.cluster_sample("hub", "v1.37.2", facts(nodes=[node, node, {}], node_metrics=metrics), STARTED)
    assert (one.nodes, one.gpus, one.capacity.cpu, one.allocatable.cpu) == (3, 2, 8, Decimal("7.6"))
    assert one.used == Amounts(Decimal(2), Decimal(4 * 1024**3))
    assert one.credential_expires == moment(STARTED)
    unmeasured = sample.cluster_sample("hub", "v1.37.2", facts(unmeasured="404"))
    assert (unmeasured.used, unmeasured.unmeasured, unmeasured.credential_expires) == (None, "404", None)
