"""Config maps with service environment variables: what is remembered, and when one is written again."""

from __future__ import annotations

from tenantry_syncer.controllers.config_maps_and_secrets import ReferenceIndex
from tenantry_syncer.controllers.service_links import ServiceLinks
from tenantry_syncer.kube.resources import CONFIG_MAP, LINKS, NAMESPACE, POD, SERVICE
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.service_variables import ALL, host_name

from ..object_store import ObjectStore, with_store
from ..objects import CONFIG, pod

ONE = (LINKS, "shop", ALL)
USER = (POD, ("shop", "web"))
PATH = f"/api/v1/namespaces/{CONFIG.namespace}/configmaps/{host_name('shop', ALL)}"


def service(number: int) -> dict:
    metadata = {"name": f"s{number}", "namespace": "shop", "resourceVersion": "1", "creationTimestamp": ""}
    return {"metadata": metadata, "spec": {"clusterIP": f"10.0.0.{number}", "ports": [{"port": 80}]}}


def remembered(links: ServiceLinks) -> int:
    """Return how many entries the object has in all of its dictionaries."""
    return sum(len(value) for value in vars(links).values() if isinstance(value, dict))


def with_links(scenario) -> None:
    """Run scenario(links, index, context, store) with a namespace `shop`."""

    async def main(store: ObjectStore, api):
        context, index = SyncContext(CONFIG, api, api), ReferenceIndex()
        context.virtual.cache(NAMESPACE).put({"metadata": {"name": "shop", "uid": "u", "resourceVersion": "1"}})
        await scenario(ServiceLinks(context, index), index, context, store)

    with_store(main)


def test_unused_namespaces_leave_nothing_in_memory():
    async def scenario(links, index, context, store):
        for number in range(3):
            assert links.changed(f"space-{number}") == []
        assert remembered(links) == 0, "no pod in these namespaces"
        index.update(*USER, {ONE})
        assert links.changed("shop") == [ONE]
        await links.reconcile("shop", ALL)
        assert remembered(links) > 0
        context.host.cache(CONFIG_MAP).put(store.objects[PATH])
        index.update(*USER, set())
        await links.reconcile("shop", ALL)
        assert store.writes[-1] == f"DELETE {PATH}"
        assert remembered(links) == 0, "the last pod is gone"

    with_links(scenario)


def test_change_updates_the_config_map_once():
    async def scenario(links, index, context, store):
        index.update(*USER, {ONE})
        for _time in range(2):
            await links.reconcile("shop", ALL)
            context.host.cache(CONFIG_MAP).put(store.objects[PATH])
        assert store.writes == [f"POST {PATH}"]
        context.virtual.cache(SERVICE).put(service(1))
        links.changed("shop")
        for _time in range(2):
            await links.reconcile("shop", ALL)
            context.host.cache(CONFIG_MAP).put(store.objects[PATH])
        assert store.writes == [f"POST {PATH}", f"PUT {PATH}"]
        assert store.objects[PATH]["data"]["S1_SERVICE_HOST"] == "10.0.0.1"

    with_links(scenario)


def test_change_while_unused_updates_the_config_map():
    """A pod goes, a service changes and a pod comes, before the key of the config map is processed."""

    async def scenario(links, index, context, store):
        index.update(*USER, {ONE})
        await links.reconcile("shop", ALL)
        context.host.cache(CONFIG_MAP).put(store.objects[PATH])
        index.update(*USER, set())
        context.virtual.cache(SERVICE).put(service(1))
        links.changed("shop")
        index.update(*USER, {ONE})
        await links.reconcile("shop", ALL)
        assert store.objects[PATH]["data"]["S1_SERVICE_HOST"] == "10.0.0.1"

    with_links(scenario)


def test_left_out_counts_only_for_pods_with_links():
    links = ServiceLinks(SyncContext(CONFIG, None, None), ReferenceIndex())
    links._left_out["shop"] = 2
    assert links.left_out(pod()) == 2
    assert links.left_out(pod({"enableServiceLinks": False})) == 0
