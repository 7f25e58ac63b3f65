"""Every verb on everything that an API server says it serves, as real requests that change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .asking import Requests

NAME = "probe"  # of no object: what gets past authorization finds nothing
DRY = "dryRun=All"
APPLY, MERGE, JSON_PATCH = "application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"
METHODS = {
    "get": [("GET", "", None)],
    "list": [("GET", "limit=1", None)],
    "watch": [("GET", "watch=1&timeoutSeconds=1&limit=1", None)],
    "create": [("POST", DRY, "application/json")],
    "update": [("PUT", DRY, "application/json")],
    "patch": [
        ("PATCH", f"{DRY}&fieldManager=probe", APPLY),
        ("PATCH", DRY, MERGE),
        ("PATCH", DRY, JSON_PATCH),
    ],
    "delete": [("DELETE", DRY, None)],
    "deletecollection": [("DELETE", f"{DRY}&labelSelector=tenantry.dev/none=none", None)],
}
ON_A_COLLECTION = {"list", "watch", "create", "deletecollection"}


class Request(NamedTuple):
    method: str
    url: str
    content: str | None
    what: str

    def __str__(self) -> str:
        return f"{self.what}: {self.method} {self.url}"


class Served(NamedTuple):
    """A resource, or a subresource of one, in one version of its group."""

    path: str  # of the group and version
    name: str  # such as pods/exec
    namespaced: bool
    verbs: tuple[str, ...]
    kind: str

    @property
    def api_version(self) -> str:
        return self.path.removeprefix("/apis/").removeprefix("/api/")

    @property
    def group(self) -> str:
        """Empty for the core group, whose path is /api/v1."""
        return self.path.removeprefix("/apis/").rpartition("/")[0] if self.path.startswith("/apis/") else ""


def served(cluster: Cluster) -> list[Served]:
    groups = cluster._json("get", "/apis")["groups"]
    paths = ["/api/v1", *(f"/apis/{v['groupVersion']}" for group in groups for v in group["versions"])]
    answers = cluster.map(lambda path: cluster._json("get", path)["resources"], paths)
    return [
        Served(path, resource["name"], resource["namespaced"], tuple(resource["verbs"]), resource["kind"])
        for path, resources in zip(paths, answers, strict=True)
        for resource in resources
    ]


def requests_for(resource: Served, namespace: str | None, name: str = NAME) -> Iterator[Request]:
    """All verbs of a resource; a namespaced one in this namespace or, with None, in all of them at once."""
    plural, _kind, subresource = resource.name.partition("/")
    within = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    collection = f"{resource.path}{within}/{plural}"
    for verb in resource.verbs:
        if resource.namespaced and not namespace and verb not in ("list", "watch"):
            continue
        on_collection = verb in ON_A_COLLECTION and not subresource
        path = collection if on_collection else "/".join(filter(None, [collection, name, subresource]))
        for method, query, content in METHODS[verb]:
            yield Request(method, f"{path}?{query}".rstrip("?"), content, f"{verb} {resource.name}")


def answers(cluster: Cluster, asked: Iterable[Request], requests: Requests, what: str) -> dict[Request, int]:
    """The HTTP status of each."""
    asked = list(asked)
    statuses = cluster.map(lambda request: status_of(cluster, request), asked)
    requests.count(what, len(asked))
    return dict(zip(asked, statuses, strict=True))


def status_of(cluster: Cluster, request: Request, body: Any = None) -> int:
    return answer_of(cluster, request, body)[0]


def answer_of(cluster: Cluster, request: Request, body: Any = None, headers: dict | None = None) -> tuple[int, str]:
    """The HTTP status, and what came with it."""
    empty: Any = [] if request.content == JSON_PATCH else {}
    headers = {**cluster.headers, **({"Content-Type": request.content} if request.content else {}), **(headers or {})}
    pools = cluster._client.client.rest_client.pool_manager
    response = pools.request(
        request.method,
        cluster.server + request.url,
        headers=headers,
        body=json.dumps(empty if body is None else body) if request.content else None,
        retries=False,
        timeout=30,
    )
    return int(response.status), response.data.decode()
