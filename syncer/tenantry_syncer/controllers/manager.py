"""Queue the objects that a change on either side affects, and run the reconciler of each kind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from tenantry_syncer import naming
from tenantry_syncer.controllers import config_maps_and_secrets, service_account_tokens, service_links
from tenantry_syncer.controllers.config_maps_and_secrets import References
from tenantry_syncer.controllers.endpoint_slices import EndpointSlices, addresses_of_pod
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.ingresses import Ingresses
from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.controllers.persistent_volume_claims import PersistentVolumeClaims
from tenantry_syncer.controllers.pods import Pods
from tenantry_syncer.controllers.services import Services
from tenantry_syncer.controllers.storage_classes import StorageClasses
from tenantry_syncer.host_networks import REFRESH_SECONDS
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.informer import Key, Listener, key_of, newest
from tenantry_syncer.kube.leader_election import LeaderElector
from tenantry_syncer.kube.resources import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    INGRESS,
    LINKS,
    NODE,
    POD,
    PVC,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    TOKEN,
    Kind,
)
from tenantry_syncer.kube.work_queue import RequeueAfter, WorkQueue
from tenantry_syncer.sync_context import READ_WHEN_USED, SyncContext
from tenantry_syncer.translate.ingress import services_of

# Seconds. Services are often created in bulk, and running pods need the variables of new ones only after a restart.
_LINKS_DELAY = 1.0
_TOO_LARGE = (
    "Too large for the host: the limit is 2 MiB, including a surcharge for each field and string. Reduce its size."
)
# The checks of these kinds depend on other objects and cannot run again on an object that has become too large.
_DELETE_IF_TOO_LARGE = (ENDPOINT_SLICE, INGRESS)


class Reconciler(Protocol):
    """Syncs the objects of one kind."""

    async def reconcile(self, namespace: str, name: str) -> None: ...


class Syncer:
    """The caches of both sides, and a work queue with the reconciler of each kind."""

    def __init__(self, context: SyncContext, elector: LeaderElector | None = None) -> None:
        self.context = context
        self._elector = elector  # None: this is the only syncer
        self.events = Events(context)
        self.nodes = Nodes(context)
        self._classes = StorageClasses(context)
        self.queue: WorkQueue[tuple] = WorkQueue(self._work)
        # A syncer that waits, perhaps for months, keeps no keys of objects that come and go.
        self.queue.is_open = elector is None
        self._index = config_maps_and_secrets.ReferenceIndex()
        self._references = References(context, self._index, self.events)
        self._tokens = service_account_tokens.Tokens(context, self.events)
        self._pods = Pods(context, self.events, self.nodes, self._references, self._tokens)
        self._reconcilers: dict[Kind, Reconciler] = {
            POD: self._pods,
            SERVICE: Services(context, self.events),
            PVC: PersistentVolumeClaims(context, self.events),
            ENDPOINT_SLICE: EndpointSlices(context, self.events),
            INGRESS: Ingresses(context, self.events),
        }
        self._add_listeners()

    @property
    def ready(self) -> bool:
        """Whether all caches have been filled."""
        return all(cache.ready.is_set() for cache in self.context.caches)

    async def run(self) -> None:
        """Run until cancelled. Reconcile only after all lists: an object not listed yet would appear deleted.

        Pods are listed first, and orphaned host pods are deleted before the other lists.
        """
        await self.nodes.start()
        async with asyncio.TaskGroup() as group:
            pods = [self.context.host.cache(POD), self.context.virtual.cache(POD)]
            others = [cache for cache in self.context.caches if cache not in pods]
            for caches in (pods, others):
                for cache in caches:
                    group.create_task(cache.run())
                for cache in caches:
                    await cache.ready.wait()
                if caches is pods and not self._elector:
                    await self._remove_orphans()
            if self._elector:
                await self._elector.acquire()
                self._open_queue()
                group.create_task(self._elector.renew())
            for kind in READ_WHEN_USED:
                group.create_task(self._references.follow(kind, self.queue.add))
            group.create_task(self.queue.run())
            group.create_task(self.events.run())
            group.create_task(self._watch_settings())

    def _open_queue(self) -> None:
        """Queue everything, as after the first lists."""
        self.queue.is_open = True
        for cache in self.context.caches:
            cache.replay()

    async def _remove_orphans(self) -> None:
        """Delete host pods without a virtual pod. Failures are retried with all other keys."""
        for host_object in self.context.host.all(POD):
            key = naming.virtual_key(host_object)
            if key and self.context.virtual.get(POD, *key) is None:
                with contextlib.suppress(ApiError, Gone, RequeueAfter):
                    await self._work((POD, *key))

    def host_pod_name(self, namespace: str, name: str) -> str | None:
        """Return the name of the host pod of a pod; None if there is none."""
        pod = self.context.virtual.get(POD, namespace, name)
        host_pods = self.context.host_pods_for(namespace, name)
        return next((one["metadata"]["name"] for one in host_pods if self.context.is_host_object_of(one, pod)), None)

    async def _work(self, key: tuple) -> None:
        what, *rest = key
        if what is NODE:
            async with self.context.loaded(NODE, "", *rest):
                self._requeue_after(key, await self.nodes.reconcile(*rest))
        elif what is STORAGE_CLASS:
            async with self.context.loaded(STORAGE_CLASS, "", *rest):
                await self._classes.reconcile(*rest)
        elif what == TOKEN:
            async with self.context.loaded(POD, *rest):
                self._requeue_after(key, await self._tokens.reconcile(*rest))
        elif what in (LINKS, *READ_WHEN_USED):
            await self._references.reconcile(what, *rest)
        else:
            await self._reconcile(what, *rest)

    async def _reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        async with self.context.loaded(kind, namespace, name) as fits:
            obj = self.context.virtual.get(kind, namespace, name)
            host_object = self.context.host_object_for(kind, namespace, name)
            is_going = obj is not None and (
                obj["metadata"].get("deletionTimestamp")
                or (host_object and not self.context.is_host_object_of(host_object, obj))
            )
            if fits or is_going:
                await self._reconcilers[kind].reconcile(namespace, name)
            elif obj is not None:
                if host_object and kind in _DELETE_IF_TOO_LARGE:
                    await self.context.host.delete(kind, host_object)
                await self.events.reject(kind, obj, "TooLarge", _TOO_LARGE)

    def _requeue_after(self, key: tuple, seconds: float | None) -> None:
        if seconds is not None:
            self.queue.add_later(key, seconds)

    def _add_listeners(self) -> None:
        for kind in self._reconcilers:
            self.context.virtual.cache(kind).listen(self._on_virtual(kind))
            self.context.host.cache(kind).listen(self._on_host(kind))
        for kind in READ_WHEN_USED:
            self.context.host.cache(kind).listen(self._on_host(kind))
        self.context.virtual.cache(POD).listen(self._virtual_pod_changed)
        self.context.host.cache(POD).listen(self._host_pod_changed)
        self.context.virtual.cache(INGRESS).listen(self._ingress_changed)
        self.context.virtual.cache(SERVICE).listen(self._service_changed)
        for kind in (NODE, STORAGE_CLASS):
            self.context.virtual.cache(kind).listen(self._on_cluster_scoped(kind))

    def _on_virtual(self, kind: Kind) -> Listener:
        return lambda old, new: self.queue.add((kind, *key_of(newest(old, new))))

    def _on_cluster_scoped(self, kind: Kind) -> Listener:
        return lambda old, new: self.queue.add((kind, key_of(newest(old, new))[1]))

    def _on_host(self, kind: Kind) -> Listener:
        def changed(old: dict | None, new: dict | None) -> None:
            host_object = newest(old, new)
            key = naming.virtual_key(host_object)
            if key and kind is CONFIG_MAP and service_links.is_links(host_object):
                self.queue.add((LINKS, key[1], service_links.variant_of(host_object)))
            elif key:
                what = TOKEN if kind is SECRET and service_account_tokens.is_tokens(host_object) else kind
                self.queue.add((what, *key))

        return changed

    def _virtual_pod_changed(self, old: dict | None, new: dict | None) -> None:
        key = key_of(newest(old, new))
        if new is None or not reduced.is_reduced(new):
            self._track_references(POD, key, config_maps_and_secrets.of_pod(new) if new else set())
        if new is None or service_account_tokens.has_sources(new):
            self.queue.add((TOKEN, *key))
        if new is None and old and old["spec"].get("nodeName"):
            self.queue.add((NODE, old["spec"]["nodeName"]))

    def _host_pod_changed(self, old: dict | None, new: dict | None) -> None:
        if changed := addresses_of_pod(old) ^ addresses_of_pod(new):
            self._requeue_slices(changed)
        if new is None and old:
            if self.queue.is_open:
                self._pods.host_pod_deleted(old)
            if old["spec"].get("nodeName"):
                self.queue.add((NODE, old["spec"]["nodeName"]))

    def _ingress_changed(self, old: dict | None, new: dict | None) -> None:
        if new is not None and reduced.is_reduced(new):
            return
        self._track_references(
            INGRESS, key_of(newest(old, new)), config_maps_and_secrets.of_ingress(new) if new else set()
        )

    def _service_changed(self, old: dict | None, new: dict | None) -> None:
        service = newest(old, new)
        namespace, name = key_of(service)
        for key in self.context.virtual.by_index(ENDPOINT_SLICE, f"{namespace}/{name}"):
            self.queue.add((ENDPOINT_SLICE, *key))
        for one in self.context.virtual.all(INGRESS, namespace):
            if reduced.is_reduced(one) or name in services_of(one):
                self.queue.add((INGRESS, *key_of(one)))
        self._requeue_host_objects(INGRESS)
        for link in self._references.links.changed(namespace):
            self.queue.add_later(link, _LINKS_DELAY)

    async def _watch_settings(self) -> None:
        """Poll the settings that the platform updates, networks and storage classes of the host, until cancelled."""
        for name in self.context.classes.names:
            self.queue.add((STORAGE_CLASS, name))
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self.context.networks.refresh():
                self._requeue_slices()
            for name in self.context.classes.refresh():
                self.queue.add((STORAGE_CLASS, name))

    def _requeue_slices(self, addresses: set[str] | None = None) -> None:
        """Queue all slices, or those that contain or may contain one of these addresses."""
        for one in self.context.virtual.all(ENDPOINT_SLICE):
            named = (address for endpoint in one.get("endpoints") or [] for address in endpoint["addresses"])
            if addresses is None or reduced.is_reduced(one) or not addresses.isdisjoint(named):
                self.queue.add((ENDPOINT_SLICE, *key_of(one)))
        self._requeue_host_objects(ENDPOINT_SLICE)

    def _requeue_host_objects(self, kind: Kind) -> None:
        """Queue all host objects of a kind if some virtual ones are not cached, so that each is checked."""
        if self.context.virtual.cache(kind).has_left_out:
            for host_object in self.context.host.all(kind):
                if key := naming.virtual_key(host_object):
                    self.queue.add((kind, *key))

    def _track_references(self, kind: Kind, key: Key, used: set[config_maps_and_secrets.Reference]) -> None:
        for reference in self._index.update(kind, key, used):
            self.queue.add(reference)
