"""Checks run again even for objects that are too large or not cached."""

from __future__ import annotations

import pytest
from tenantry_syncer.controllers.manager import Syncer
from tenantry_syncer.kube.informer import key_of
from tenantry_syncer.kube.resources import ENDPOINT_SLICE, INGRESS, POD, SERVICE
from tenantry_syncer.sync_context import SERVICE_NAME, SyncContext

from ..object_store import with_store
from ..objects import CONFIG, pod, service

MANY = [{"addresses": ["192.0.2.7"], "conditions": {}, "hints": {}, "zone": "z"} for _one in range(3000)]


def known_on_host(store, context: SyncContext, kind, obj: dict, **fields: object) -> str:
    host_object = context.host_object(kind, obj, **fields)
    host_object["metadata"] |= {"namespace": CONFIG.namespace, "uid": "on-host", "resourceVersion": "1"}
    path = kind.path(CONFIG.namespace, host_object["metadata"]["name"])
    store.objects[path] = host_object
    context.host.cache(kind).put(host_object)
    return path


def made_inside(kind, **fields: object) -> dict:
    metadata = {"name": "web", "namespace": "shop", "uid": "e-1", "resourceVersion": "7"}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ENDPOINT_SLICE, {"addressType": "IPv4", "endpoints": MANY}),
        (INGRESS, {"spec": {"rules": [{"host": f"h{at}", "http": {"paths": []}} for at in range(6000)]}}),
    ],
    ids=["slice", "ingress"],
)
def test_object_grown_too_large_is_deleted_on_host(kind, fields):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        obj = made_inside(kind, **fields)
        store.objects[kind.path("shop", "web")] = obj
        context.virtual.cache(kind).put(obj)
        path = known_on_host(store, context, kind, obj, spec={})
        await Syncer(context)._work((kind, "shop", "web"))
        assert path not in store.objects
        assert [one for one in store.writes if "events" in one]  # and an event reports it

    with_store(scenario)


def waiting(syncer: Syncer) -> set:
    return set(syncer.queue._queued)


def test_host_object_is_queued_if_virtual_is_not_cached():
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        labels = {SERVICE_NAME: "web"}
        for kind in (ENDPOINT_SLICE, INGRESS):
            known_on_host(store, context, kind, made_inside(kind), spec={}, endpoints=[])
        syncer = Syncer(context)
        syncer._requeue_slices({"10.42.0.7"})
        context.virtual.cache(SERVICE).put(service({"clusterIP": "10.43.0.9"}, labels=labels))
        assert not {(ENDPOINT_SLICE, "shop", "web"), (INGRESS, "shop", "web")} & waiting(syncer)
        for kind in (ENDPOINT_SLICE, INGRESS):
            context.virtual.cache(kind)._left_out = 1
        syncer._requeue_slices({"10.42.0.7"})
        assert (ENDPOINT_SLICE, "shop", "web") in waiting(syncer)
        context.virtual.cache(SERVICE).put(service({"clusterIP": "10.43.0.9"}, resourceVersion="4"))
        assert (INGRESS, "shop", "web") in waiting(syncer)

    with_store(scenario)


def test_waiting_syncer_keeps_nothing_of_what_comes_and_goes():
    async def scenario(_store, api):
        context = SyncContext(CONFIG, api, api)
        syncer = Syncer(context, elector=object())
        virtual = pod()
        host_pod = context.host_object(POD, virtual, spec={"nodeName": "node-1"}, status={"phase": "Running"})
        host_pod["metadata"] |= {"uid": "on-host", "resourceVersion": "1"}
        for cache, obj in ((context.virtual.cache(POD), virtual), (context.host.cache(POD), host_pod)):
            cache.put(obj)
            cache._store(key_of(obj), None)
        assert not waiting(syncer)
        assert not syncer._pods._last
        context.virtual.cache(POD).put(pod(resourceVersion="8"))
        syncer._open_queue()  # it has become the leader
        assert (POD, "shop", "web-0") in waiting(syncer)

    with_store(scenario)
