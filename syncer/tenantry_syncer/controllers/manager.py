"""Which change on which side leads to which object being looked at, and what then looks at it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from tenantry_syncer import naming
from tenantry_syncer.controllers import config_maps_and_secrets, service_account_tokens, service_links
from tenantry_syncer.controllers.config_maps_and_secrets import References
from tenantry_syncer.controllers.endpoint_slices import Slices, addresses_of_pod
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.ingresses import Ingresses
from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.controllers.persistent_volume_claims import Claims
from tenantry_syncer.controllers.pods import Pods
from tenantry_syncer.controllers.services import Services
from tenantry_syncer.controllers.storage_classes import StorageClasses
from tenantry_syncer.host_networks import REFRESH_SECONDS
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.informer import Key, Listener, key_of, newest
from tenantry_syncer.kube.leader_election import Turn
from tenantry_syncer.kube.resources import (
    CLAIM,
    CONFIG_MAP,
    INGRESS,
    LINKS,
    NODE,
    POD,
    SECRET,
    SERVICE,
    SLICE,
    STORAGE_CLASS,
    TOKEN,
    Kind,
)
from tenantry_syncer.kube.work_queue import Again, Queue
from tenantry_syncer.sync_context import READ_WHEN_USED, Sides
from tenantry_syncer.translate.ingress import services_of

# Services are often made many at once; pods that are there need the variables of new ones when they start again only.
_LINKS_LATER = 1.0
_TOO_LARGE = (
    "it is too large for the host: the limit is 2 MiB, with a surcharge for each field and text. Make it smaller"
)
# What a copy of these may say depends on other objects. Nobody can check one again that has become too large.
_CHECKED = (SLICE, INGRESS)


class Reconciler(Protocol):
    """Of one kind."""

    async def reconcile(self, namespace: str, name: str) -> None: ...


class Syncer:
    def __init__(self, sides: Sides, turn: Turn | None = None) -> None:
        self.sides = sides
        self._turn = turn  # None: there is no other
        self.events = Events(sides)
        self.nodes = Nodes(sides)
        self._classes = StorageClasses(sides)
        self.queue: Queue[tuple] = Queue(self._work)
        self._index = config_maps_and_secrets.Index()
        self._references = References(sides, self._index, self.events)
        self._tokens = service_account_tokens.Tokens(sides)
        self._pods = Pods(sides, self.events, self.nodes, self._references, self._tokens)
        self._reconcilers: dict[Kind, Reconciler] = {
            POD: self._pods,
            SERVICE: Services(sides, self.events),
            CLAIM: Claims(sides, self.events),
            SLICE: Slices(sides, self.events),
            INGRESS: Ingresses(sides, self.events),
        }
        self._listen()

    @property
    def ready(self) -> bool:
        return all(cache.ready.is_set() for cache in self.sides.caches)

    async def run(self) -> None:
        """For ever. Nothing is made before all lists are in: what is not listed yet would seem to be gone.

        Pods come first, and those on the host that nobody asks for any more go before anything else is listed.
        """
        await self.nodes.start()
        async with asyncio.TaskGroup() as group:
            pods = [self.sides.host.cache(POD), self.sides.inside.cache(POD)]
            others = [cache for cache in self.sides.caches if cache not in pods]
            for caches in (pods, others):
                for cache in caches:
                    group.create_task(cache.run())
                for cache in caches:
                    await cache.ready.wait()
                if caches is pods and not self._turn:
                    await self._remove_orphans()
            if self._turn:
                await self._turn.taken()
                group.create_task(self._turn.keep())
            for kind in READ_WHEN_USED:
                group.create_task(self._references.follow(kind, self.queue.add))
            group.create_task(self.queue.run())
            group.create_task(self.events.run())
            group.create_task(self._follow_platform())

    async def _remove_orphans(self) -> None:
        """Those that cannot be removed now are looked at again with all others."""
        for copy in self.sides.host.all(POD):
            key = naming.virtual_key(copy)
            if key and self.sides.inside.get(POD, *key) is None:
                with contextlib.suppress(ApiError, Gone, Again):
                    await self._work((POD, *key))

    def host_pod(self, namespace: str, name: str) -> str | None:
        """The pod on the host that stands for one inside."""
        pod = self.sides.inside.get(POD, namespace, name)
        copies = self.sides.copies_of_pod(namespace, name)
        return next((one["metadata"]["name"] for one in copies if self.sides.is_copy(one, pod)), None)

    async def _work(self, key: tuple) -> None:
        what, *rest = key
        if what is NODE:
            async with self.sides.at_hand(NODE, "", *rest):
                self._later(key, await self.nodes.reconcile(*rest))
        elif what is STORAGE_CLASS:
            async with self.sides.at_hand(STORAGE_CLASS, "", *rest):
                await self._classes.reconcile(*rest)
        elif what == TOKEN:
            async with self.sides.at_hand(POD, *rest):
                self._later(key, await self._tokens.reconcile(*rest))
        elif what in (LINKS, *READ_WHEN_USED):
            await self._references.reconcile(what, *rest)
        else:
            await self._reconcile(what, *rest)

    async def _reconcile(self, kind: Kind, namespace: str, name: str) -> None:
        async with self.sides.at_hand(kind, namespace, name) as fits:
            obj = self.sides.inside.get(kind, namespace, name)
            copy = self.sides.copy_of(kind, namespace, name)
            is_going = obj is not None and (
                obj["metadata"].get("deletionTimestamp") or (copy and not self.sides.is_copy(copy, obj))
            )
            if fits or is_going:
                await self._reconcilers[kind].reconcile(namespace, name)
            elif obj is not None:
                if copy and kind in _CHECKED:
                    await self.sides.host.delete(kind, copy)
                await self.events.refuse(kind, obj, "TooLarge", _TOO_LARGE)

    def _later(self, key: tuple, seconds: float | None) -> None:
        if seconds is not None:
            self.queue.add_later(key, seconds)

    def _listen(self) -> None:
        for kind in self._reconcilers:
            self.sides.inside.cache(kind).listen(self._inside(kind))
            self.sides.host.cache(kind).listen(self._on_host(kind))
        for kind in READ_WHEN_USED:
            self.sides.host.cache(kind).listen(self._on_host(kind))
        self.sides.inside.cache(POD).listen(self._pod_inside)
        self.sides.host.cache(POD).listen(self._pod_on_host)
        self.sides.inside.cache(INGRESS).listen(self._ingress_inside)
        self.sides.inside.cache(SERVICE).listen(self._service_inside)
        for kind in (NODE, STORAGE_CLASS):
            self.sides.inside.cache(kind).listen(self._of_cluster(kind))

    def _inside(self, kind: Kind) -> Listener:
        return lambda old, new: self.queue.add((kind, *key_of(newest(old, new))))

    def _of_cluster(self, kind: Kind) -> Listener:
        return lambda old, new: self.queue.add((kind, key_of(newest(old, new))[1]))

    def _on_host(self, kind: Kind) -> Listener:
        def changed(old: dict | None, new: dict | None) -> None:
            copy = newest(old, new)
            key = naming.virtual_key(copy)
            if key and kind is CONFIG_MAP and service_links.is_links(copy):
                self.queue.add((LINKS, key[1], service_links.variant_of(copy)))
            elif key:
                what = TOKEN if kind is SECRET and service_account_tokens.is_tokens(copy) else kind
                self.queue.add((what, *key))

        return changed

    def _pod_inside(self, old: dict | None, new: dict | None) -> None:
        key = key_of(newest(old, new))
        if new is None or not reduced.is_reduced(new):
            self._use(POD, key, config_maps_and_secrets.of_pod(new) if new else set())
        if new is None or service_account_tokens.token_sources(new):
            self.queue.add((TOKEN, *key))
        if new is None and old and old["spec"].get("nodeName"):
            self.queue.add((NODE, old["spec"]["nodeName"]))

    def _pod_on_host(self, old: dict | None, new: dict | None) -> None:
        if changed := addresses_of_pod(old) ^ addresses_of_pod(new):
            self._look_at_slices(changed)
        if new is None and old:
            self._pods.vanished(old)
            if old["spec"].get("nodeName"):
                self.queue.add((NODE, old["spec"]["nodeName"]))

    def _ingress_inside(self, old: dict | None, new: dict | None) -> None:
        if new is not None and reduced.is_reduced(new):
            return
        self._use(INGRESS, key_of(newest(old, new)), config_maps_and_secrets.of_ingress(new) if new else set())

    def _service_inside(self, old: dict | None, new: dict | None) -> None:
        service = newest(old, new)
        namespace, name = key_of(service)
        for key in self.sides.inside.marked(SLICE, f"{namespace}/{name}"):
            self.queue.add((SLICE, *key))
        for one in self.sides.inside.all(INGRESS, namespace):
            if reduced.is_reduced(one) or name in services_of(one):
                self.queue.add((INGRESS, *key_of(one)))
        self._look_at_copies(INGRESS)
        for link in self._references.links.changed(namespace):
            self.queue.add_later(link, _LINKS_LATER)

    async def _follow_platform(self) -> None:
        """For ever: what it tells of the host changes when nodes, or classes of storage, come and go."""
        for name in self.sides.classes.names:
            self.queue.add((STORAGE_CLASS, name))
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self.sides.networks.refresh():
                self._look_at_slices()
            for name in self.sides.classes.refresh():
                self.queue.add((STORAGE_CLASS, name))

    def _look_at_slices(self, addresses: set[str] | None = None) -> None:
        """All, or those that name one of these addresses or may do so."""
        for one in self.sides.inside.all(SLICE):
            named = (address for endpoint in one.get("endpoints") or [] for address in endpoint["addresses"])
            if addresses is None or reduced.is_reduced(one) or not addresses.isdisjoint(named):
                self.queue.add((SLICE, *key_of(one)))
        self._look_at_copies(SLICE)

    def _look_at_copies(self, kind: Kind) -> None:
        """At all that the host has, where some of those inside are not known: nothing there goes unchecked."""
        if self.sides.inside.cache(kind).has_left_out:
            for copy in self.sides.host.all(kind):
                if key := naming.virtual_key(copy):
                    self.queue.add((kind, *key))

    def _use(self, kind: Kind, key: Key, used: set[config_maps_and_secrets.Reference]) -> None:
        for reference in self._index.update(kind, key, used):
            self.queue.add(reference)
