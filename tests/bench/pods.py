"""Pods from their creation until they are Ready: in a virtual cluster, or on its host directly as the baseline.

Seen by a watch of the collection's own client over a connection that is open: no process starts, nothing is polled.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for, wait_gone

DEADLINE = 300
# What the resources's limit range gives to who asks for nothing would fill the node with 50 pods.
TINY = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}


@dataclass(frozen=True)
class Space:
    """A namespace of a cluster, and what it takes there until pods are ready."""

    cluster: Cluster
    name: str

    def pod(self) -> float:
        """Seconds from the creation of one pod until it is Running and Ready; its resources are the limit range's."""
        name = f"one-{uuid.uuid4().hex[:6]}"
        metadata = {"name": name, "namespace": self.name, "labels": {"app": name}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": _spec()}
        try:
            return self._until_ready(pod, 1, name)
        finally:
            self.cluster.delete("v1/Pod", name, self.name)
            self._until_gone(name)

    @contextlib.contextmanager
    def deployment(self, replicas: int) -> Iterator[float]:
        """With seconds from the creation of a Deployment until all of its pods are Ready; they are there meanwhile."""
        name = f"many-{uuid.uuid4().hex[:6]}"
        try:
            yield self.start(name, replicas)
        finally:
            self.cluster.delete("apps/v1/Deployment", name, self.name)
            self._until_gone(name)

    def start(self, name: str, replicas: int) -> float:
        """Seconds from the creation of a Deployment until all of its pods are Ready."""
        template = {"metadata": {"labels": {"app": name}}, "spec": _spec(TINY)}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        }
        return self._until_ready(deployment, replicas, name)

    def delete(self) -> None:
        """Delete the namespace, and wait until it is gone."""
        self.cluster.delete("v1/Namespace", self.name)
        wait_gone(self.cluster, "v1/Namespace", self.name, None, Deadline(DEADLINE), what=f"namespace {self.name}")

    def scale_up(self, replicas: int) -> float:
        with self.deployment(replicas) as seconds:
            return seconds

    def _until_ready(self, obj: dict, count: int, app: str) -> float:
        ready: set[str] = set()

        start = time.monotonic()
        made = self.cluster.create(obj)
        events = self.cluster.watch(
            "v1/Pod",
            self.name,
            selector=f"app={app}",
            resource_version=made["metadata"]["resourceVersion"],
            timeout=DEADLINE,
        )
        with contextlib.closing(events):
            for _event, pod in events:
                if _is_ready(pod):
                    ready.add(pod["metadata"]["name"])
                if len(ready) == count:
                    return time.monotonic() - start
        raise SystemExit(f"bench: {app} in {self.name}: {len(ready)} of {count} pods ready after {DEADLINE} s")

    def _until_gone(self, app: str) -> None:
        """Until no pod of it is left, so that its end is no load on the next run."""
        for pod in self.cluster.list("v1/Pod", self.name, f"app={app}"):
            name = pod["metadata"]["name"]
            wait_gone(self.cluster, "v1/Pod", name, self.name, Deadline(DEADLINE), what=f"the pod {name}")


@contextlib.contextmanager
def space(cluster: Cluster, walls_of: str | None = None) -> Iterator[Space]:
    """A namespace for a while, on the host with the limit range and Pod Security level of a virtual cluster's."""
    name = f"bench-{uuid.uuid4().hex[:6]}"
    metadata: dict = {"name": name}
    limits: list[dict] = []
    if walls_of:
        labels = cluster.get("v1/Namespace", walls_of)["metadata"]["labels"]
        metadata["labels"] = {key: value for key, value in labels.items() if key.startswith("pod-security.")}
        limits = cluster.list("v1/LimitRange", walls_of)
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        for one in limits:
            copy = {"name": one["metadata"]["name"], "namespace": name}
            cluster.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": copy, "spec": one["spec"]})
        # Without it no pod can be made.
        wait_for(cluster, "v1/ServiceAccount", "default", name, bool, Deadline(DEADLINE), what=f"namespace {name}")
        yield Space(cluster, name)
    finally:
        cluster.delete("v1/Namespace", name)


def _spec(resources: dict | None = None) -> dict:
    container = {"name": "web", "image": "docker.io/lab/web:1", "args": ["sleep"], "resources": resources or {}}
    return {"terminationGracePeriodSeconds": 1, "containers": [container]}


def _is_ready(pod: dict) -> bool:
    status = pod.get("status", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    return status.get("phase") == "Running" and conditions.get("Ready") == "True"
