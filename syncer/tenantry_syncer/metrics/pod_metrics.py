"""Serve metrics.k8s.io in the virtual cluster from the host's metrics of its pods.

The metrics of a node are the sum of this virtual cluster's pods on it; tenants do not see other usage of the node.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl

from tenantry_syncer import naming
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import NODE, POD, POD_METRICS, Kind
from tenantry_syncer.serving.http_server import Head, answer
from tenantry_syncer.serving.mtls_server import status_json
from tenantry_syncer.sync_context import SYNCER_SELECTOR, SyncContext
from tenantry_syncer.translate import quantities

GROUP, VERSION = POD_METRICS.api_version.split("/")
ROOT = f"/apis/{GROUP}/{VERSION}"
# Responses are cached for this time; the host measures less often.
FRESH_SECONDS = 5.0

_SELECTORS = ("labelSelector", "fieldSelector")

_RESOURCES = [
    {"name": plural, "singularName": "", "namespaced": plural == "pods", "kind": kind, "verbs": ["get", "list"]}
    for plural, kind in (("nodes", "NodeMetrics"), ("pods", "PodMetrics"))
]
# Discovery documents that API servers request. The OpenAPI documents need only exist.
_DOCUMENTS: dict[str, dict] = {
    ROOT: {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": POD_METRICS.api_version,
        "resources": _RESOURCES,
    },
    "/openapi/v2": {"swagger": "2.0", "info": {"title": GROUP, "version": VERSION}, "paths": {}},
    "/openapi/v3": {"paths": {}},
}


class Metrics:
    """Answers requests for metrics of pods and nodes."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._asked = float("-inf")
        self._measured: list[dict] | None = None

    async def are_available(self) -> bool:
        """Return whether the host has a metrics API that the syncer may read. Raises ApiError on other errors."""
        try:
            return await self._read() is not None
        except ApiError as error:
            if error.status == 403:
                return False
            raise

    async def handle(self, head: Head, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one request that the API server has authorized and proxied."""
        try:
            status, body = 200, json.dumps(await self._answer(head))
        except ApiError as error:
            status, body = error.status, status_json(error.status, error.message)
        await answer(writer, status, body, "application/json")

    async def _answer(self, head: Head) -> dict:
        path, _mark, text = head.target.partition("?")
        query = dict(parse_qsl(text))
        if head.method != "GET" or "watch" in query:
            raise ApiError(405, "", "metrics.k8s.io supports only get and list")
        if path in _DOCUMENTS:
            return _DOCUMENTS[path]
        selectors = {key: query[key] for key in _SELECTORS if key in query}
        match path.removeprefix(ROOT).split("/"):
            case ["", "nodes"]:
                return _list("NodeMetricsList", await self._nodes(selectors))
            case ["", "nodes", name]:
                return _one("nodes", name, [one for one in await self._nodes({}) if one["metadata"]["name"] == name])
            case ["", "pods"]:
                return _list("PodMetricsList", await self._pods(None, selectors))
            case ["", "namespaces", namespace, "pods"]:
                return _list("PodMetricsList", await self._pods(namespace, selectors))
            case ["", "namespaces", namespace, "pods", name]:
                found = await self._pods(namespace, {})
                return _one("pods", name, [one for one in found if one["metadata"]["name"] == name])
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    async def _pods(self, namespace: str | None, selectors: dict[str, str]) -> list[dict]:
        found = [
            one for _node, one in await self._translated_metrics() if namespace in (None, one["metadata"]["namespace"])
        ]
        return await self._selected(found, POD, namespace, selectors)

    async def _nodes(self, selectors: dict[str, str]) -> list[dict]:
        pods: dict[str, list[dict]] = {}
        for node, one in await self._translated_metrics():
            pods.setdefault(node, []).append(one)
        return await self._selected([node_metrics(*item) for item in pods.items()], NODE, None, selectors)

    async def _selected(
        self, found: list[dict], kind: Kind, namespace: str | None, selectors: dict[str, str]
    ) -> list[dict]:
        """Filter by selectors, which the virtual API server evaluates."""
        if not selectors:
            return found
        pages = self._context.virtual.api.pages(kind.path(namespace), partial=True, **selectors)
        wanted = {_key(one) async for page, _version in pages for one in page}
        return [one for one in found if _key(one) in wanted]

    async def _translated_metrics(self) -> list[tuple[str, dict]]:
        """Return the metrics of pods, each with the name of its node. Raises ApiError if there are none."""
        try:
            measured = await self._read()
        except ApiError:
            measured = None
        if measured is None:
            raise ApiError(503, "ServiceUnavailable", "the host's metrics API is not available")
        return list(self._translated(measured))

    def _translated(self, measured: list[dict]) -> Iterator[tuple[str, dict]]:
        for one in measured:
            host_object = self._context.host.get(POD, "", one["metadata"]["name"])
            key = naming.virtual_key(host_object) if host_object else None
            pod = self._context.virtual.get(POD, *key) if key else None
            if host_object and pod and self._context.is_host_object_of(host_object, pod):
                yield host_object["spec"].get("nodeName", ""), pod_metrics(pod, one)

    async def _read(self) -> list[dict] | None:
        """Return the host's pod metrics; None if it has no metrics API."""
        async with self._lock:
            if time.monotonic() >= self._asked + FRESH_SECONDS:
                path = POD_METRICS.path(self._context.config.namespace)
                found = await self._context.host.api.get(path, labelSelector=SYNCER_SELECTOR)
                self._measured = found["items"] if found else None
                self._asked = time.monotonic()
            return self._measured


def pod_metrics(pod: dict, measured: dict) -> dict:
    """Return a PodMetrics of the virtual cluster from the host's."""
    given = pod["metadata"]
    metadata = {"name": given["name"], "namespace": given["namespace"], "labels": given.get("labels") or {}}
    containers = [{"name": one["name"], "usage": one["usage"]} for one in measured["containers"]]
    return {**_measurement("PodMetrics", metadata, measured), "containers": containers}


def node_metrics(name: str, pods: list[dict]) -> dict:
    """Return the metrics of a node: the sum of these pods."""
    usages = [one["usage"] for pod in pods for one in pod["containers"]]
    cpu = sum(quantities.parse(usage.get("cpu", "0")) for usage in usages)
    memory = sum(quantities.parse(usage.get("memory", "0")) for usage in usages)
    newest = max(pods, key=lambda pod: pod["timestamp"])
    usage = {"cpu": f"{int(cpu * 10**9)}n", "memory": f"{int(memory) // 1024}Ki"}
    return {**_measurement("NodeMetrics", {"name": name}, newest), "usage": usage}


def _measurement(kind: str, metadata: dict, measured: dict) -> dict:
    metadata = {**metadata, "creationTimestamp": measured["timestamp"]}
    times = {"timestamp": measured["timestamp"], "window": measured["window"]}
    return {"kind": kind, "apiVersion": POD_METRICS.api_version, "metadata": metadata, **times}


def _key(obj: dict) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _list(kind: str, items: list[dict]) -> dict:
    return {"kind": kind, "apiVersion": POD_METRICS.api_version, "metadata": {}, "items": items}


def _one(resource: str, name: str, found: list[dict]) -> dict:
    if not found:
        raise ApiError(404, "NotFound", f'{resource}.{GROUP} "{name}" not found')
    return found[0]
