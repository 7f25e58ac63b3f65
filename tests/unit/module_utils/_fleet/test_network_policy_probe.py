"""Probes of two runs on one host, and what a killed run has left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, timestamps
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import network_policy_probe as probe
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key, key_of
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline

RUNNING = {"phase": "Running", "podIP": "10.42.0.7"}
ENDED = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}


class Host:
    """A host on which pods run and end at once. `at_start` is called when the first pod of a probe runs."""

    name = "edge"

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.at_start: Callable[[], object] = lambda: None

    def apply(self, obj: dict[str, Any], age: int = 0) -> None:
        created = timestamps.stamp(datetime.now(UTC) - timedelta(seconds=age))
        meta = {**obj["metadata"], "creationTimestamp": created}
        self.objects[key_of(obj)] = {**obj, "metadata": meta}

    def list(self, kind: str, _namespace: str, selector: str = "") -> list[dict[str, Any]]:
        found = [obj for key, obj in self.objects.items() if key.kind == kind]
        return [obj for obj in found if selector in obj["metadata"]["labels"]]

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        return self.objects.get(Key(kind, namespace, name))

    def watch(self, kind: str, namespace: str, *, name: str, timeout: int) -> list[tuple[str, dict[str, Any]]]:
        del timeout
        started, self.at_start = self.at_start, lambda: None
        started()
        pod = self.get(kind, name, namespace)
        status = ENDED if name.startswith(probe.CLIENT) else RUNNING
        return [("ADDED", {**pod, "status": status})] if pod else []

    def delete(self, kind: str, name: str, namespace: str, **_options: Any) -> None:
        self.objects.pop(Key(kind, namespace, name), None)


def _run(host: Host) -> list[str]:
    return probe._open_directions(host, "python3", Deadline(1))


def test_probe_survives_another_run() -> None:
    host = Host()
    host.at_start = lambda: _run(host)
    assert _run(host) == []
    assert host.objects == {}


@pytest.mark.parametrize(("age", "stays"), [(2 * probe.SECONDS - 10, True), (2 * probe.SECONDS + 10, False)])
@pytest.mark.parametrize("name", ["network-probe-server", "network-probe-server-0a1b2c3d"])
def test_probe_of_a_killed_run_is_deleted(name: str, age: int, stays: bool) -> None:
    host = Host()
    meta = {"name": name, "namespace": naming.PLATFORM_NAMESPACE, "labels": {probe.LABEL: name}}
    host.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta}, age)
    host.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta}, age)
    other = {"name": "other", "namespace": naming.PLATFORM_NAMESPACE, "labels": {}}
    host.apply({"apiVersion": "v1", "kind": "Pod", "metadata": other}, age)
    assert _run(host) == []
    assert {key.name for key in host.objects} == ({name, "other"} if stays else {"other"})
    assert len(host.objects) == (3 if stays else 1)
