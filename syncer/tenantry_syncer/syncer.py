"""Which change on which side leads to which object being looked at, and what then looks at it."""

from __future__ import annotations

import asyncio

from tenantry_syncer import names, references, tokens
from tenantry_syncer.cache import Listener, key_of
from tenantry_syncer.endpoints import SERVICE_NAME, Slices
from tenantry_syncer.events import Events
from tenantry_syncer.ingresses import Ingresses
from tenantry_syncer.kinds import CLAIM, INGRESS, NODE, POD, SECRET, SERVICE, SLICE, TOKEN, Kind
from tenantry_syncer.nodes import Nodes
from tenantry_syncer.pods import Pods
from tenantry_syncer.queue import Queue
from tenantry_syncer.references import References
from tenantry_syncer.services import Services
from tenantry_syncer.sides import READ_WHEN_USED, Sides
from tenantry_syncer.storage import Claims
from tenantry_syncer.turns import Turn


class Syncer:
    def __init__(self, sides: Sides, turn: Turn | None = None) -> None:
        self.sides = sides
        self._turn = turn  # None: there is no other
        self.events = Events(sides)
        self.nodes = Nodes(sides)
        self.queue = Queue(self._work)
        self._index = references.Index()
        self._references = References(sides, self._index)
        self._tokens = tokens.Tokens(sides)
        self._pods = Pods(sides, self.events, self.nodes, self._references, self._tokens)
        self._reconcilers = {
            POD: self._pods,
            SERVICE: Services(sides, self.events),
            CLAIM: Claims(sides, self.events),
            SLICE: Slices(sides),
            INGRESS: Ingresses(sides, self.events),
        }
        self._listen()

    @property
    def ready(self) -> bool:
        return all(cache.ready.is_set() for cache in self.sides.caches)

    async def run(self) -> None:
        """For ever. Nothing is looked at before all lists are in: what is not listed yet would seem to be gone."""
        await self.nodes.start()
        async with asyncio.TaskGroup() as group:
            for cache in self.sides.caches:
                group.create_task(cache.run())
            for cache in self.sides.caches:
                await cache.ready.wait()
            if self._turn:
                await self._turn.taken()
                group.create_task(self._turn.keep())
            group.create_task(self.queue.run())
            group.create_task(self.events.run())

    def host_pod(self, namespace: str, name: str) -> str | None:
        """The pod on the host that stands for one inside."""
        pod = self.sides.inside.get(POD, namespace, name)
        copy = self.sides.copy_of(POD, namespace, name)
        return copy["metadata"]["name"] if copy and self.sides.is_copy(copy, pod) else None

    async def _work(self, key: tuple) -> None:
        what, *rest = key
        if what is NODE:
            self._later(key, await self.nodes.reconcile(*rest))
        elif what == TOKEN:
            self._later(key, await self._tokens.reconcile(*rest))
        elif what in READ_WHEN_USED:
            await self._references.reconcile(what, *rest)
        else:
            await self._reconcilers[what].reconcile(*rest)

    def _later(self, key: tuple, seconds: float | None) -> None:
        if seconds is not None:
            self.queue.add_later(key, seconds)

    def _listen(self) -> None:
        for kind in self._reconcilers:
            self.sides.inside.cache(kind).listen(self._inside(kind))
            self.sides.host.cache(kind).listen(self._on_host(kind))
        for kind in READ_WHEN_USED:
            self.sides.inside.cache(kind).listen(self._referenced(kind))
            self.sides.host.cache(kind).listen(self._on_host(kind))
        self.sides.inside.cache(POD).listen(self._pod_inside)
        self.sides.host.cache(POD).listen(self._pod_on_host)
        self.sides.inside.cache(INGRESS).listen(self._ingress_inside)
        self.sides.inside.cache(SERVICE).listen(self._service_inside)
        self.sides.inside.cache(NODE).listen(lambda old, new: self.queue.add((NODE, key_of(new or old)[1])))

    def _inside(self, kind: Kind) -> Listener:
        return lambda old, new: self.queue.add((kind, *key_of(new or old)))

    def _on_host(self, kind: Kind) -> Listener:
        def changed(old: dict | None, new: dict | None) -> None:
            copy = new or old
            key = names.virtual_key(copy)
            if key:
                what = TOKEN if kind is SECRET and tokens.is_tokens(copy) else kind
                self.queue.add((what, *key))

        return changed

    def _referenced(self, kind: Kind) -> Listener:
        """Of all config maps and secrets inside, only those in use are ever looked at."""

        def changed(old: dict | None, new: dict | None) -> None:
            reference = (kind, *key_of(new or old))
            if self._index.is_used(reference):
                self.queue.add(reference)

        return changed

    def _pod_inside(self, old: dict | None, new: dict | None) -> None:
        key = key_of(new or old)
        self._use(POD, key, references.of_pod(new) if new else set())
        if new is None or tokens.token_sources(new):
            self.queue.add((TOKEN, *key))
        if new is None and old["spec"].get("nodeName"):
            self.queue.add((NODE, old["spec"]["nodeName"]))

    def _pod_on_host(self, old: dict | None, new: dict | None) -> None:
        if new is None:
            self._pods.vanished(old)
            if old["spec"].get("nodeName"):
                self.queue.add((NODE, old["spec"]["nodeName"]))

    def _ingress_inside(self, old: dict | None, new: dict | None) -> None:
        self._use(INGRESS, key_of(new or old), references.of_ingress(new) if new else set())

    def _service_inside(self, old: dict | None, new: dict | None) -> None:
        service = new or old
        namespace, name = key_of(service)
        for one in self.sides.inside.all(SLICE, namespace):
            if (one["metadata"].get("labels") or {}).get(SERVICE_NAME) == name:
                self.queue.add((SLICE, *key_of(one)))

    def _use(self, kind: Kind, key: tuple[str, str], used: set[references.Reference]) -> None:
        for reference in self._index.update(kind, key, used):
            self.queue.add(reference)
