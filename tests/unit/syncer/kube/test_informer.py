from __future__ import annotations

import asyncio

import pytest
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import Api, ApiError
from tenantry_syncer.kube.informer import Cache
from tenantry_syncer.kube.resources import CONFIG_MAP

from ..api_server import ApiServer, config_map, line, with_server


class Followed:
    """A running cache, and the changes that its listener received."""

    def __init__(self, api: Api, selector: str = "") -> None:
        self.cache = Cache(api, CONFIG_MAP, "shop", selector)
        self.to_virtual_message: list[tuple] = []
        self._changed = asyncio.Event()
        self.cache.listen(self._add_listeners)

    def _add_listeners(self, old: dict | None, new: dict | None) -> None:
        one = self.last = new or old
        self.to_virtual_message.append(
            (one["metadata"]["name"], None if new is None else one["metadata"]["resourceVersion"])
        )
        self._changed.set()

    async def until(self, *to_virtual_message: tuple) -> None:
        while self.to_virtual_message[-len(to_virtual_message) :] != list(to_virtual_message):
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> Followed:
        self._task = asyncio.ensure_future(self.cache.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def run(scenario) -> None:
    asyncio.run(with_server(scenario))


def test_cache_lists_and_watches():
    async def scenario(server: ApiServer, api: Api):
        server.lists = [([config_map("a", 1), config_map("b", 2)], 5)]

        async def changes(response):
            managed = config_map("a", 6, k="new")
            managed["metadata"]["managedFields"] = [{}]
            # Several in one chunk, and one in two.
            await response.write(line("MODIFIED", managed) + line("ADDED", config_map("c", 7)) + b'{"type": "DEL')
            await response.write(line("DELETED", config_map("b", 8)).removeprefix(b'{"type": "DEL'))
            await response.write(line("BOOKMARK", {"metadata": {"resourceVersion": "90"}}))

        server.watches = [changes]
        async with Followed(api, "app=web") as it:
            await it.until(("a", "1"), ("b", "2"), ("a", "6"), ("c", "7"), ("b", None))
            assert it.cache.ready.is_set()
            found = it.cache.get("shop", "a")
            assert (found["kind"], found["apiVersion"], found["data"]) == ("ConfigMap", "v1", {"k": "new"})
            assert "managedFields" not in found["metadata"]
            assert sorted(one["metadata"]["name"] for one in it.cache.all("shop")) == ["a", "c"]
            while len(server.asked) < 3:
                await asyncio.sleep(0.01)
        assert [one.get("resourceVersion") for one in server.asked] == [None, "5", "90"]
        assert {one["labelSelector"] for one in server.asked} == {"app=web"}

    run(scenario)


def test_watch_accepts_line_of_a_megabyte():
    async def scenario(server: ApiServer, api: Api):
        server.lists = [([], 1)]

        async def changes(response):
            await response.write(line("ADDED", config_map("big", 2, k="x" * 1_000_000)))

        server.watches = [changes]
        async with Followed(api) as it:
            await it.until(("big", "2"))
            found = it.cache.get("shop", "big")
            assert reduced.is_reduced(found)
            assert "data" not in found
            assert len(it.last["data"]["k"]) == 1_000_000

    run(scenario)


def test_watch_resumes_after_disconnect():
    async def scenario(server: ApiServer, api: Api):
        server.lists = [([], 1)]

        async def breaks(response):
            await response.write(line("ADDED", config_map("a", 2)) + b'{"type": "ADDED", "obj')
            raise ConnectionResetError

        async def goes_on(response):
            await response.write(line("ADDED", config_map("b", 3)))

        server.watches = [breaks, goes_on]
        async with Followed(api) as it:
            await it.until(("a", "2"), ("b", "3"))
        assert [one.get("resourceVersion") for one in server.asked][:3] == [None, "1", "2"]

    run(scenario)


@pytest.mark.parametrize("code", [410, 500])
def test_expired_version_causes_list(code):
    async def scenario(server: ApiServer, api: Api):
        server.lists = [([config_map("a", 1), config_map("b", 1)], 1), ([config_map("b", 4)], 9)]

        async def gone(response):
            await response.write(line("ERROR", {"kind": "Status", "code": code, "message": "too old"}))

        server.watches = [gone]
        async with Followed(api) as it:
            await it.until(("b", "4"), ("a", None))
            assert it.cache.get("shop", "a") is None

    run(scenario)


def test_put_after_deletion_is_ignored():
    async def scenario(server: ApiServer, api: Api):
        server.lists = [([config_map("a", 1)], 1)]

        async def changes(response):
            await response.write(line("DELETED", config_map("a", 4)))

        server.watches = [changes]
        async with Followed(api) as it:
            await it.until(("a", "1"), ("a", None))
            it.cache.put(config_map("a", 3))  # the response to an earlier write
            assert it.cache.get("shop", "a") is None
            it.cache.put(config_map("a", 5))
            assert it.cache.get("shop", "a")["metadata"]["resourceVersion"] == "5"
            it.cache.put(config_map("a", 4))
            assert it.cache.get("shop", "a")["metadata"]["resourceVersion"] == "5"

    run(scenario)


def test_api_follows_no_redirects():
    async def scenario(server: ApiServer, api: Api):
        server.elsewhere = "/stolen"
        with pytest.raises(ApiError) as caught:
            await api.get("/api/v1/secrets")
        assert caught.value.status == 307
        assert len(server.asked) == 1

    run(scenario)
