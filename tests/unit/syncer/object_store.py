"""An API server that stores one object per path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from tenantry_syncer.kube.client import Api


def merged(current: object, patch: object) -> object:
    """Merge as RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        result[key] = merged(result.get(key), value)
    return {key: value for key, value in result.items() if value is not None}


class ObjectStore:
    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.deletions: list[dict] = []  # their DeleteOptions
        self.rejected: dict[str, int] = {}  # status codes by path
        self.causes: list[dict] = []  # of those

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if path in self.rejected:
            status = {"kind": "Status", "message": "refused", "details": {"causes": self.causes}}
            return web.json_response(status, status=self.rejected[path])
        if request.method == "POST":
            body = await request.json()
            path = f"{path}/{body['metadata']['name']}"
            if "/namespaces/" in path:
                body["metadata"]["namespace"] = path.partition("/namespaces/")[2].partition("/")[0]
            body["metadata"] |= {"uid": f"uid-{len(self.writes)}", "resourceVersion": "1"}
            self.objects[path] = body
        if path not in self.objects:
            return web.json_response({"kind": "Status", "reason": "NotFound", "message": "not found"}, status=404)
        if request.method == "PATCH":
            self.objects[path] = merged(self.objects[path], await request.json())
        if request.method == "PUT":
            current, body = self.objects[path], await request.json()
            body["metadata"]["resourceVersion"] += "0"
            self.objects[path] = {**body, "metadata": {**current["metadata"], **body["metadata"]}}
        if request.method == "DELETE":
            self.deletions.append(await request.json())
        if request.method == "GET":
            self.reads.append(path)
        else:
            self.writes.append(f"{request.method} {path}")
        return web.json_response(self.objects.pop(path) if request.method == "DELETE" else self.objects[path])


def with_store(scenario: Callable[[ObjectStore, Api], Awaitable[None]]) -> None:
    """Run scenario(store, api)."""

    async def main() -> None:
        store = ObjectStore()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", store.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api = Api(f"http://127.0.0.1:{runner.addresses[0][1]}", True, lambda: "token")
        try:
            await scenario(store, api)
        finally:
            await api.close()
            await runner.cleanup()

    asyncio.run(asyncio.wait_for(main(), 20))
