"""A host in memory, for the flow of the module vcluster: objects as they were applied, with what a server adds."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key, key_of
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import tenant_objects

CREATED = "2026-11-20T09:00:00Z"
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node"},
    "spec": {"podCIDRs": ["10.42.0.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
}
QUOTA = {"cpu": "64", "memory": "64Gi", "storage": "100Gi", "pods": "100", "vclusters": "5"}


class FakeHost:
    """With as much of Cluster as the flow calls."""

    timeout = 5.0
    ca_data = ""

    def __init__(self, name: str, *objects: dict) -> None:
        self.name = self.server = name
        self.objects: dict[Key, dict] = {}
        self.writes: list[tuple[str, str, str]] = []
        self._numbers = itertools.count(1)
        for obj in objects:
            self._store(obj)

    @classmethod
    def hub(cls) -> FakeHost:
        labels = {naming.LABEL_COMPONENT: "platform", naming.LABEL_MANAGED_BY: naming.MANAGED_BY}
        platform = {"metadata": {"name": naming.PLATFORM_NAMESPACE, "labels": labels}}
        namespace = {"apiVersion": "v1", "kind": "Namespace", **platform}
        return cls("hub", NODE, namespace, *tenant_objects("payments", QUOTA, "payments"))

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        return copy.deepcopy(self.objects.get(Key(kind, namespace, name)))

    def list(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[dict]:
        wanted = {tuple(one.split("=", 1)) for one in (selector or "").split(",") if one}
        return [
            copy.deepcopy(obj)
            for key, obj in self.objects.items()
            if key.kind == kind
            and namespace in (None, key.namespace)
            and wanted <= {*(obj["metadata"].get("labels") or {}).items()}
        ]

    def pages(self, kind: str, *_where: Any, **_options: Any) -> Iterator[list[dict]]:
        yield self.list(kind)

    def create(self, obj: dict, **_options: Any) -> dict:
        if key_of(obj) in self.objects:
            raise ApiError("it exists", 409)
        return self.apply(obj)

    def apply(self, obj: dict, **_options: Any) -> dict:
        self.writes.append(("apply", obj["kind"], obj["metadata"]["name"]))
        return self._store(obj)

    def merge(self, kind: str, name: str, namespace: str | None, body: dict, *, manager: str = "") -> dict:
        self.writes.append(("merge", kind, name))
        live = self.objects[Key(kind, namespace, name)]
        if body.get("metadata", {}).get("resourceVersion") not in (None, live["metadata"]["resourceVersion"]):
            raise ApiError("the object has been modified", 409)
        _merge(live, body)
        live["metadata"]["resourceVersion"] = str(next(self._numbers))
        return copy.deepcopy(self.objects[Key(kind, namespace, name)])

    def delete(self, kind: str, name: str, namespace: str | None = None, **_options: Any) -> bool:
        self.writes.append(("delete", kind, name))
        if kind == "v1/Namespace":
            self.objects = {key: obj for key, obj in self.objects.items() if key.namespace != name}
        return self.objects.pop(Key(kind, namespace, name), None) is not None

    def map(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [do(item) for item in items]

    def identity(self) -> str:
        return f"uid-of-{self.name}"

    def limited(self, _seconds: float) -> FakeHost:
        return self

    def close(self) -> None:
        pass

    def _store(self, obj: dict) -> dict:
        found, number = copy.deepcopy(obj), next(self._numbers)
        live = self.objects.get(key_of(obj), {"metadata": {}})
        found["metadata"].setdefault("uid", live["metadata"].get("uid", f"uid-{number}"))
        found["metadata"].setdefault("creationTimestamp", live["metadata"].get("creationTimestamp", CREATED))
        found["metadata"]["resourceVersion"] = str(number)
        if found["kind"] == "Service":
            found["spec"].setdefault("clusterIP", live.get("spec", {}).get("clusterIP", f"10.43.0.{number}"))
        self.objects[key_of(found)] = found
        return copy.deepcopy(found)


def _merge(into: dict, body: dict) -> None:
    for key, value in body.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
