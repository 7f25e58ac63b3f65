"""Config maps on the host with service environment variables: one or two for each namespace with pods."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tenantry_syncer import naming
from tenantry_syncer.kube.resources import CONFIG_MAP, LINKS, NAMESPACE, SERVICE
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.service_variables import ALL, API, host_name, of_services, which

if TYPE_CHECKING:
    from tenantry_syncer.controllers.config_maps_and_secrets import Reference, ReferenceIndex


class ServiceLinks:
    """Syncs these config maps."""

    def __init__(self, context: SyncContext, index: ReferenceIndex) -> None:
        self._context = context
        self._index = index
        self._numbers = itertools.count()
        # For each config map in use, the number of the latest change. A number is never used again, so that a sync
        # that is under way when its entry goes does not make an outdated config map look current.
        self._changes: dict[Reference, int] = {}
        # For each config map, the change and the host object's resource version when it was last current.
        self._synced: dict[Reference, tuple[int, str]] = {}
        self._left_out: dict[str, int] = {}

    def changed(self, namespace: str) -> list[Reference]:
        """Record that a service of the namespace changed; return the references to reconcile."""
        one = (LINKS, namespace, ALL)
        if not self._index.is_used(one):
            self._changes.pop(one, None)
            return []
        self._changes[one] = next(self._numbers)
        return [one]

    def variables(self, pod: dict) -> dict[str, str]:
        """Return the service environment variables of a pod."""
        namespace = pod["metadata"]["namespace"]
        services = self._context.virtual.all(SERVICE, namespace) if which(pod) == ALL else ()
        return of_services(services, self._context.config)[0]

    def left_out(self, pod: dict) -> int:
        """Return how many services have no variables in the pod because of the size limit."""
        return self._left_out.get(pod["metadata"]["namespace"], 0) if which(pod) == ALL else 0

    async def reconcile(self, namespace: str, variant: str) -> None:
        """Create, update or delete the config map with the variables of a namespace."""
        context, one = self._context, (LINKS, namespace, variant)
        host_object = context.host.get(CONFIG_MAP, "", host_name(namespace, variant))
        namespace_object = context.virtual.get(NAMESPACE, "", namespace)
        if not self._index.is_used(one):
            self._changes.pop(one, None)
            self._synced.pop(one, None)
            if variant == ALL:
                self._left_out.pop(namespace, None)
            if host_object:
                await context.host.delete(CONFIG_MAP, host_object)
            return
        if namespace_object is None:
            raise RequeueAfter  # the watch has not caught up
        if not self._in_sync(one, host_object):
            # One at a time: the variables of a namespace may take half a megabyte.
            async with context.reference_lock:
                host_object = context.host.get(CONFIG_MAP, "", host_name(namespace, variant))
                if not self._in_sync(one, host_object):
                    await self._sync(one, namespace_object, host_object)

    def _in_sync(self, one: Reference, host_object: dict | None) -> bool:
        if host_object is None or one not in self._changes:
            return False
        return self._synced.get(one) == (self._changes[one], host_object["metadata"]["resourceVersion"])

    async def _sync(self, one: Reference, namespace_object: dict, host_object: dict | None) -> None:
        context, (_kind, namespace, variant) = self._context, one
        if host_object and not context.is_host_object_of(host_object, namespace_object):
            await context.host.delete(CONFIG_MAP, host_object)  # the deletion queues this key again
            return
        change = self._changes.setdefault(one, next(self._numbers))
        services = context.virtual.all(SERVICE, namespace) if variant == ALL else ()
        data, left_out = of_services(services, context.config)
        if variant == ALL:
            self._left_out[namespace] = left_out
        desired = context.host_object(LINKS, namespace_object, data=data)
        desired["metadata"]["name"] = host_name(namespace, variant)
        if host_object is None:
            host_object = await context.host.create(CONFIG_MAP, desired)
        else:
            host_object = await context.host.replace(CONFIG_MAP, host_object, desired)
        self._synced[one] = (change, host_object["metadata"]["resourceVersion"])


def is_links(host_object: dict) -> bool:
    """Return whether the config map on the host has service environment variables."""
    return host_object["metadata"]["labels"].get(naming.COMPONENT) == LINKS.component


def variant_of(host_object: dict) -> str:
    """Return the variant of a config map of links. Its virtual object is the Namespace."""
    _no_index, namespace = naming.virtual_key(host_object) or ("", "")
    return ALL if host_object["metadata"]["name"] == host_name(namespace, ALL) else API
