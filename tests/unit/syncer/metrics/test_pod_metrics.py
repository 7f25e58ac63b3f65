"""Metrics in the virtual cluster: names, selectors and sums for nodes."""

from __future__ import annotations

import asyncio
import json

import pytest
from tenantry_syncer import naming
from tenantry_syncer.kube.resources import POD
from tenantry_syncer.metrics.pod_metrics import ROOT, Metrics, node_metrics
from tenantry_syncer.serving.http_server import Head
from tenantry_syncer.sync_context import SyncContext

from ..api_server import with_server
from ..objects import CONFIG, pod

WHEN = {"timestamp": "2026-01-01T00:00:00Z", "window": "15s"}


def measured(name: str, cpu: str = "2000000n", memory: str = "1024Ki") -> dict:
    """Return the host's metrics of a pod, which have no annotations."""
    containers = [{"name": "web", "usage": {"cpu": cpu, "memory": memory}}]
    return {"metadata": {"name": name, "namespace": CONFIG.namespace, "labels": {"host": "only"}}, **WHEN} | {
        "containers": containers
    }


def known(context: SyncContext, name: str, namespace: str = "shop", node: str = "one", uid: str = "u") -> str:
    """Add a pod to both sides; return its name on the host."""
    virtual = pod(name=name, namespace=namespace, uid="u", labels={"app": name})
    host_object = naming.metadata(CONFIG.labels, "pod", pod(name=name, namespace=namespace, uid=uid))
    context.virtual.cache(POD).put(virtual)
    metadata = {**host_object, "namespace": CONFIG.namespace, "resourceVersion": "1"}
    context.host.cache(POD).put({"metadata": metadata, "spec": {"nodeName": node}})
    return host_object["name"]


class Writer:
    """Records a response."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        pass


async def send_request(metrics: Metrics, target: str, method: str = "GET") -> tuple[int, dict]:
    writer = Writer()
    await metrics.handle(Head(method, target, []), None, writer)
    head, _blank, body = writer.sent.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def with_metrics(scenario, *, host: list[dict] | None = None) -> None:
    """Run scenario(metrics, context, server) with one API server for both sides."""

    async def main(server, api):
        context = SyncContext(CONFIG, api, api)
        found = [known(context, "a"), known(context, "b", "bank", "two"), known(context, "gone", uid="an earlier one")]
        server.lists = [([measured(one) for one in found] + [measured("server-0")] if host is None else host, 0)]
        await scenario(Metrics(context), context, server)

    asyncio.run(with_server(main))


def named(answer: dict) -> list[str]:
    return [f"{one['metadata'].get('namespace')}/{one['metadata']['name']}" for one in answer["items"]]


def test_pods_have_virtual_names_and_labels():
    async def scenario(metrics, _context, server):
        status, answer = await send_request(metrics, f"{ROOT}/pods")
        assert (status, answer["kind"]) == (200, "PodMetricsList")
        assert named(answer) == ["shop/a", "bank/b"], "neither the platform's nor those of pods that are no more"
        first = answer["items"][0]
        assert first["metadata"]["labels"] == {"app": "a"}
        assert first["containers"] == measured("x")["containers"]
        assert {key: first[key] for key in WHEN} == WHEN
        assert CONFIG.namespace not in json.dumps(answer)
        assert server.asked == [{"labelSelector": "app.kubernetes.io/managed-by=tenantry-syncer"}]

    with_metrics(scenario)


@pytest.mark.parametrize(
    ("path", "found"),
    [("namespaces/shop/pods", ["shop/a"]), ("namespaces/none/pods", []), ("nodes", ["None/one", "None/two"])],
)
def test_list_by_path(path, found):
    async def scenario(metrics, _context, _server):
        assert named((await send_request(metrics, f"{ROOT}/{path}"))[1]) == found

    with_metrics(scenario)


def test_get_pod_and_node():
    async def scenario(metrics, _context, _server):
        status, answer = await send_request(metrics, f"{ROOT}/namespaces/bank/pods/b")
        assert (status, answer["kind"], answer["metadata"]["name"]) == (200, "PodMetrics", "b")
        status, answer = await send_request(metrics, f"{ROOT}/nodes/two")
        assert (status, answer["kind"], answer["usage"]) == (
            200,
            "NodeMetrics",
            {"cpu": "2000000n", "memory": "1024Ki"},
        )
        status, answer = await send_request(metrics, f"{ROOT}/namespaces/shop/pods/b")
        assert (status, answer["reason"]) == (404, "NotFound")

    with_metrics(scenario)


def test_selectors_are_evaluated_by_api_server():
    async def scenario(metrics, _context, server):
        server.lists.append(([pod(name="a"), pod(name="another")], 7))
        _status, answer = await send_request(
            metrics, f"{ROOT}/namespaces/shop/pods?labelSelector=app%20in%20%28a%2Cb%29"
        )
        assert named(answer) == ["shop/a"]
        assert server.asked[-1]["labelSelector"] == "app in (a,b)"

    with_metrics(scenario)


def test_responses_of_host_are_cached():
    async def scenario(metrics, _context, server):
        for _time in range(3):
            await send_request(metrics, f"{ROOT}/pods")
        assert len(server.asked) == 1

    with_metrics(scenario)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", f"{ROOT}/secrets", 404),
        ("GET", "/api/v1/namespaces/shop/pods", 404),
        ("POST", f"{ROOT}/pods", 405),
        ("GET", f"{ROOT}/pods?watch=true", 405),
    ],
)
def test_other_requests_are_rejected(method, target, status):
    async def scenario(metrics, _context, server):
        assert (await send_request(metrics, target, method))[0] == status
        assert server.asked == []

    with_metrics(scenario)


def test_no_metrics_on_host_is_unavailable():
    async def scenario(metrics, _context, server):
        server.elsewhere = "http://127.0.0.1:1/"
        status, answer = await send_request(metrics, f"{ROOT}/nodes")
        assert (status, answer["reason"]) == (503, "ServiceUnavailable")
        status, answer = await send_request(metrics, ROOT)
        assert (status, answer["kind"]) == (200, "APIResourceList"), "virtual namespaces can still be deleted"

    with_metrics(scenario)


def test_node_metrics_sum_pods():
    pods = [measured("a", "1500m", "1Mi"), measured("b", "2500000n", "524288"), measured("c", "1", "1.5Ki")]
    pods[1]["timestamp"] = "2026-01-01T00:00:07Z"
    node = node_metrics("one", pods)
    assert node["usage"] == {"cpu": "2502500000n", "memory": f"{1024 + 512 + 1}Ki"}
    assert node["timestamp"] == "2026-01-01T00:00:07Z"


def test_node_metrics_sum_any_notation():
    node = node_metrics("one", [measured("a", "25e-3", "2048e0"), measured("b", "1", "1M")])
    assert node["usage"] == {"cpu": "1025000000n", "memory": f"{(2048 + 1000**2) // 1024}Ki"}
