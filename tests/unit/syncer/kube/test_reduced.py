"""What is cached of objects of each size; objects that would take too much memory are not parsed."""

from __future__ import annotations

import asyncio
import json

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers.config_maps_and_secrets import ReferenceIndex, References
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.informer import Budget, Cache, key_of
from tenantry_syncer.kube.resources import CONFIG_MAP, POD
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext

from ..api_server import config_map, line, with_server
from ..object_store import with_store
from ..objects import CONFIG, container, pod

HEAD = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "7", "creationTimestamp": None}
MANY = {f"k{at}": "" for at in range(100_000)}


def raw(obj: dict) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "obj",
    [
        {"metadata": HEAD, "data": MANY},
        {"kind": "ConfigMap", "metadata": {**HEAD, "labels": MANY}},
        {"metadata": {**HEAD, "generation": 3, "deletionTimestamp": "now", "labels": MANY}},
    ],
)
def test_parsed_too_many_parts_returns_head(obj):
    found = reduced.parsed(raw(obj))
    assert reduced.is_reduced(found)
    assert key_of(found) == ("shop", "a")
    wanted = {key: value for key, value in obj["metadata"].items() if key != "labels"}
    assert found["metadata"] == wanted


def test_parsed_large_text_returns_object():
    found = reduced.parsed(raw({"metadata": HEAD, "data": {"k": "x" * 3_000_000}}))
    assert len(found["data"]["k"]) == 3_000_000


def test_event_and_page_too_many_parts_return_heads():
    obj = {"metadata": HEAD, "data": MANY}
    assert key_of(reduced.event(raw({"type": "ADDED", "object": obj}))[1]) == ("shop", "a")
    items, of_list = reduced.page(raw({"kind": "L", "metadata": {"resourceVersion": "9"}, "items": [obj]}))
    assert (key_of(items[0]), of_list) == (("shop", "a"), {"resourceVersion": "9"})
    assert "data" not in reduced.event(raw({"type": "ADDED", "object": config_map("a", 1)}), heads=True)[1]


def test_lookup_fields_suffice_to_find_and_delete():
    notes = {naming.NAMESPACE: "shop", naming.NAME: "web-0", naming.UID: "u", "x": "y" * 20_000}
    labels = {naming.MANAGED_BY: naming.SYNCER, **MANY}
    spec = {"nodeName": "n", "selector": {"a": "x" * 5000}, "containers": []}
    lookup_fields = reduced.lookup_fields(
        {**pod(spec, labels=labels, annotations=notes), "status": {"phase": "Running", "x": "y"}}
    )
    assert naming.virtual_key(lookup_fields) == ("shop", "web-0")
    assert naming.virtual_uid(lookup_fields) == "u"
    assert lookup_fields["spec"] == {"nodeName": "n", "selector": True}
    assert lookup_fields["status"] == {"phase": "Running"}
    assert len(raw(lookup_fields)) < 1000


def large(name: str, version: int) -> dict:
    return {**config_map(name, version), "data": {"k": "x" * 20_000}}


def test_pages_shrink_for_large_objects():
    async def scenario(server, api):
        server.lists = [([config_map(str(at), 1, k="x" * 40_000) for at in range(32)], 5)]
        server.lists += [([config_map("a", 1, k="x" * 40_000)], 5)]
        pages = [items async for items, _version in api.pages("/api/v1/configmaps")]
        assert [one["metadata"]["name"] for page in pages for one in page] == ["a"]
        assert [one["limit"] for one in server.asked] == ["32", "8"]

    asyncio.run(with_server(scenario))


def test_cache_leaves_out_objects_until_room():
    async def scenario(server, api):
        objects = [config_map(str(at), 1) for at in range(10)]
        server.lists = [(objects, 5), (objects[5:], 9)]

        async def changes(response):
            for at in range(5):
                await response.write(line("DELETED", config_map(str(at), 6 + at)))

        server.watches = [changes]
        cache = Cache(api, CONFIG_MAP, budget=Budget(total=3000))
        running = asyncio.ensure_future(cache.run())
        await cache.ready.wait()
        assert cache.has_left_out
        assert 0 < len(list(cache.all())) < 10
        while cache.has_left_out or cache.get("shop", "9") is None:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(with_server(scenario))


def test_cache_relist_does_not_count_as_complete():
    """Otherwise, objects on later pages would count as deleted, and their host objects would be deleted."""
    left_out = []

    class Listing:
        async def pages(self, _path, **_options):
            yield [config_map("0", 1)], "5"
            left_out.append(cache.has_left_out)
            yield [config_map("1", 1)], "5"
            left_out.append(cache.has_left_out)
            if len(left_out) == 2:
                raise ApiError(0, "Unreachable", "in the middle")

    cache = Cache(Listing(), CONFIG_MAP, budget=Budget(total=0))

    async def scenario():
        with pytest.raises(ApiError):
            await cache._list()
        assert cache.has_left_out
        cache._budget = Budget()
        await cache._list()
        assert left_out == [True] * 4
        assert not cache.has_left_out

    asyncio.run(scenario())


def test_loaded_holds_whole_large_pod():
    path = "/api/v1/namespaces/shop/pods/web-0"

    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        known = pod({"containers": [container(args=["x" * 20_000])]})
        store.objects[path] = known
        context.virtual.cache(POD).put(known)
        assert reduced.is_reduced(context.virtual.get(POD, "shop", "web-0"))
        async with context.loaded(POD, "shop", "web-0") as fits:
            assert fits
            assert context.virtual.get(POD, "shop", "web-0")["spec"] == known["spec"]
        assert reduced.is_reduced(context.virtual.get(POD, "shop", "web-0"))

    with_store(scenario)


def test_loaded_large_pod_syncs_its_references():
    one = (CONFIG_MAP, "shop", "settings")

    async def scenario(store, api):
        index = ReferenceIndex()
        context = SyncContext(CONFIG, api, api)
        for name in ("pods/web-0", "configmaps/settings"):
            metadata = {"name": name.partition("/")[2], "namespace": "shop", "uid": "u", "resourceVersion": "7"}
            store.objects[f"/api/v1/namespaces/shop/{name}"] = {"metadata": metadata, "spec": {}, "data": {"k": "v"}}
        known = pod({"containers": [container(args=["x" * 300_000])]})
        store.objects["/api/v1/namespaces/shop/pods/web-0"] = known
        context.virtual.cache(POD).put(known)
        index.update(POD, ("shop", "web-0"), {one})
        async with context.loaded(POD, "shop", "web-0"):
            await References(context, index, None).reconcile(*one)
        assert (
            f"/api/v1/namespaces/{CONFIG.namespace}/configmaps/{naming.host_name('shop', 'settings')}" in store.objects
        )

    with_store(scenario)


def test_loaded_deleted_pod_is_requeued():
    async def scenario(_store, api):
        context = SyncContext(CONFIG, api, api)
        context.virtual.cache(POD).put(pod({"containers": [container(args=["x" * 20_000])]}))
        with pytest.raises(RequeueAfter):
            async with context.loaded(POD, "shop", "web-0"):
                pass

    with_store(scenario)


def test_loaded_growing_pod_stays_whole():
    async def scenario(_store, api):
        context = SyncContext(CONFIG, api, api)
        context.virtual.cache(POD).put(pod())
        async with context.loaded(POD, "shop", "web-0"):
            async with context.loaded(POD, "shop", "web-0"):
                args = ["x" * 20_000]
                context.virtual.cache(POD).put(pod({"containers": [container(args=args)]}, resourceVersion="8"))
            found = context.virtual.get(POD, "shop", "web-0")
            assert found["spec"]["containers"][0]["args"] == args
        assert reduced.is_reduced(context.virtual.get(POD, "shop", "web-0"))

    with_store(scenario)


def test_loaded_pod_with_too_many_parts_does_not_fit():
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        known = pod({"containers": [container(env=[{"name": f"A{at}"} for at in range(20_000)])]})
        store.objects["/api/v1/namespaces/shop/pods/web-0"] = known
        context.virtual.cache(POD).put(known)
        async with context.loaded(POD, "shop", "web-0") as fits:
            assert not fits

    with_store(scenario)


def test_event_error_is_parsed_with_heads():
    event = raw({"type": "ERROR", "object": {"kind": "Status", "message": "too old"}})
    assert reduced.event(event, heads=True)[0] == "ERROR"
    assert issubclass(Gone, Exception)
