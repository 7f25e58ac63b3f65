"""Objects as an API server returns them."""

from __future__ import annotations

import copy

from tenantry_syncer.config import Config
from tenantry_syncer.translate.pod import PodContext

CONFIG = Config(
    namespace="payments--dev",
    labels={"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "payments--dev"},
    service_account="pods",
    priority_class="tenantry-dev",
    dns_address="10.43.7.53",
    api_address="10.43.7.1",
    version="v1.34.4+k3s1",
    address="10.43.7.9",
)
POD_CONTEXT = PodContext(CONFIG, namespaces={"shop": {"team": "a"}, "bank": {"team": "b"}})
# Objects of the platform in the host namespace, which a tenant must not reach.
PLATFORM_OBJECTS = ("join-token", "platform-credential", "server-config", "syncer-config", "data-server-0", "default")


def pod(spec: dict | None = None, name: str = "web-0", namespace: str = "shop", **metadata: object) -> dict:
    whole = {"containers": [container()], "serviceAccountName": "builder", **(spec or {})}
    known = {"name": name, "namespace": namespace, "uid": "1-2-3", "resourceVersion": "7"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**known, **metadata}, "spec": copy.deepcopy(whole)}


def container(**more: object) -> dict:
    return {"name": "web", "image": "web:1", **more}


def service(spec: dict, name: str = "web", namespace: str = "shop", **metadata: object) -> dict:
    metadata = {"name": name, "namespace": namespace, "uid": "s-1", "resourceVersion": "3", **metadata}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def strings(value: object) -> list[str]:
    """Return every string in a value, including keys."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in (key, *strings(inner))]
    if isinstance(value, list):
        return [one for inner in value for one in strings(inner)]
    return [value] if isinstance(value, str) else []
