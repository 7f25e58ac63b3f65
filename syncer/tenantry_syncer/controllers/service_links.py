"""The config maps on the host from which pods take the variables of services: one per namespace that has pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry_syncer import naming
from tenantry_syncer.kube.resources import CONFIG_MAP, LINKS, NAMESPACE, SERVICE
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.sync_context import Sides
from tenantry_syncer.translate.service_variables import ALL, API, host_name, of_services, which

if TYPE_CHECKING:
    from tenantry_syncer.controllers.config_maps_and_secrets import Index, Reference


class ServiceLinks:
    """Keeps the config maps that pods take these variables from."""

    def __init__(self, sides: Sides, index: Index) -> None:
        self._sides = sides
        self._index = index
        self._changes: dict[str, int] = {}
        # Of each config map: the changes and the copy's version up to which it is as it should be.
        self._agreed: dict[Reference, tuple[int, str]] = {}
        self._left_out: dict[str, int] = {}

    def changed(self, namespace: str) -> list[Reference]:
        """A service of the namespace is not as it was; those config maps that have to be looked at."""
        self._changes[namespace] = self._changes.get(namespace, 0) + 1
        one = (LINKS, namespace, ALL)
        return [one] if self._index.is_used(one) else []

    def variables(self, pod: dict) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        services = self._sides.inside.all(SERVICE, namespace) if which(pod) == ALL else ()
        return of_services(services, self._sides.config)[0]

    def left_out(self, pod: dict) -> int:
        """How many services the pod does not find by variables, because all would be too many."""
        return self._left_out.get(pod["metadata"]["namespace"], 0) if which(pod) == ALL else 0

    async def reconcile(self, namespace: str, variant: str) -> None:
        sides, one = self._sides, (LINKS, namespace, variant)
        copy = sides.host.get(CONFIG_MAP, "", host_name(namespace, variant))
        space = sides.inside.get(NAMESPACE, "", namespace)
        if not self._index.is_used(one):
            self._agreed.pop(one, None)
            if copy:
                await sides.host.delete(CONFIG_MAP, copy)
            return
        if space is None:
            raise Again  # the watch has not told yet
        if not self._agree(one, copy):
            # One after the other: all that a namespace has to say may be half a megabyte.
            async with sides.copying:
                copy = sides.host.get(CONFIG_MAP, "", host_name(namespace, variant))
                if not self._agree(one, copy):
                    await self._bring(one, space, copy)

    def _agree(self, one: Reference, copy: dict | None) -> bool:
        state = self._changes.get(one[1], 0)
        return copy is not None and self._agreed.get(one) == (state, copy["metadata"]["resourceVersion"])

    async def _bring(self, one: Reference, space: dict, copy: dict | None) -> None:
        sides, (_kind, namespace, variant) = self._sides, one
        if copy and not sides.is_copy(copy, space):
            await sides.host.delete(CONFIG_MAP, copy)  # its deletion leads back here
            return
        state = self._changes.get(namespace, 0)
        services = sides.inside.all(SERVICE, namespace) if variant == ALL else ()
        data, left_out = of_services(services, sides.config)
        if variant == ALL:
            self._left_out[namespace] = left_out
        wanted = sides.copy(LINKS, space, data=data)
        wanted["metadata"]["name"] = host_name(namespace, variant)
        if copy is None:
            copy = await sides.host.create(CONFIG_MAP, wanted)
        else:
            copy = await sides.host.replace(CONFIG_MAP, copy, wanted)
        self._agreed[one] = (state, copy["metadata"]["resourceVersion"])


def is_links(copy: dict) -> bool:
    return copy["metadata"]["labels"].get(naming.COMPONENT) == LINKS.component


def variant_of(copy: dict) -> str:
    """Its namespace inside is what the copy stands for."""
    _none, namespace = naming.virtual_key(copy) or ("", "")
    return ALL if copy["metadata"]["name"] == host_name(namespace, ALL) else API
