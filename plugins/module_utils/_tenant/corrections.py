# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Differences between the promises of a tenant and its virtual clusters on the hosts that answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import in_order
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise, Resources


@dataclass(frozen=True)
class Correction:
    """How one promise becomes what its host has. It applies only while the promise is the one that was compared."""

    namespace: str
    before: Promise | None
    after: Promise | None
    warning: str = ""  # empty: an expected change


@dataclass(frozen=True)
class Reality:
    """What the hosts that answer know."""

    found: Mapping[str, VirtualCluster]  # of one tenant, by namespace
    hosts: Collection[str]  # of the fleet
    silent: Collection[str]  # of these, those that do not answer
    resources: Callable[[VirtualCluster], Resources | None]  # None: not known
    in_use: Callable[[VirtualCluster], Resources | None]  # with what is in use beyond them


def corrected(promises: Mapping[str, Promise], corrections: Iterable[Correction]) -> dict[str, Promise]:
    """Return the promises with the corrections of those that have not changed since."""
    result = dict(promises)
    for one in corrections:
        if result.get(one.namespace) == one.before:
            result.pop(one.namespace, None)
            if one.after:
                result[one.namespace] = one.after
    return result


def find(promises: Mapping[str, Promise], reality: Reality) -> Iterator[Correction]:
    """Yield a correction for each promise that differs from what its host has."""
    for namespace in sorted({*promises, *reality.found}):
        promise, found = promises.get(namespace), reality.found.get(namespace)
        if promise and promise.held and promise.host:
            continue
        correction = _of_existing(promise, found, reality) if found else _of_missing(namespace, promise, reality)
        if correction:
            yield correction


def _of_missing(namespace: str, promise: Promise | None, reality: Reality) -> Correction | None:
    if promise is None or promise.host in reality.silent or promise.held:
        return None
    where = "" if promise.host in reality.hosts else f", and {promise.host} is not in the fleet any more"
    warning = (
        f"{namespace}: promised {shown(promise.resources)} on {promise.host}, but it does not exist there{where}. "
        "The promise is removed"
    )
    expected = promise.deleting or not promise.host
    return Correction(namespace, promise, None, "" if expected else warning)


def _of_existing(promise: Promise | None, found: VirtualCluster, reality: Reality) -> Correction | None:
    resources, host = reality.resources(found), found.host.name
    if resources is None:
        return None
    recorded = f"but {shown(resources)} on {host} is recorded there"
    if promise is None:
        after = Promise.of(host, resources)
        return Correction(found.namespace, None, after, f"{found.namespace}: nothing promised, {recorded}. Now it is")
    if not promise.host:  # by a run of before there were promises, which may be about to apply it
        after = Promise.of(host, allocation.larger(promise.resources, resources)).beside(promise)
        return Correction(found.namespace, promise, after)
    resources = _confirmed(promise, found, resources, reality)
    differs = f"{found.namespace}: promised {shown(promise.resources)} on {promise.host}, {recorded}"
    if promise.host != host and promise.host in reality.silent:
        return Correction(found.namespace, promise, promise, f"{differs}, and {promise.host} does not answer")
    if promise.host != host or not _same(promise.resources, resources, promise.resources):
        after = Promise.of(host, resources, in_use=reality.in_use(found))
        return Correction(found.namespace, promise, after, f"{differs}. The promise is corrected")
    after = promise
    if promise.in_use and (in_use := reality.in_use(found)) is not None and not _same(in_use, promise.counted):
        after = Promise.of(host, resources, in_use=in_use)
    if resources.keys() - promise.resources.keys():  # an earlier release did not know all of them
        after = Promise.of(host, resources, in_use=after.in_use)
    if promise.pending:
        after = replace(after, runs={})
    return Correction(found.namespace, promise, after) if after != promise else None


def _confirmed(promise: Promise, found: VirtualCluster, resources: Resources, reality: Reality) -> Resources:
    """Return the resources with those of the promise that only the ResourceQuota knows, as services of mode dedicated.

    What it does not know either was promised by a run that has not applied it.
    """
    beyond = {name: amount for name, amount in promise.resources.items() if name not in resources and amount != "0"}
    live = reality.in_use(found) if beyond else None
    if live is None:
        return {**beyond, **resources}
    has = {
        name: amount if allocation.fits_in(amount, live.get(name, "0")) else live.get(name, "0")
        for name, amount in beyond.items()
    }
    return {**{name: amount for name, amount in has.items() if amount != "0"}, **resources}


def _same(one: Resources, other: Resources, names: Iterable[str] = ()) -> bool:
    """Whether they are the same in these names, and as far as both are known: earlier releases did not know all."""
    known = {*RESOURCES, *names, *(one.keys() & other.keys())}
    return allocation.fits(one, other, known) and allocation.fits(other, one, known)


def shown(resources: Resources) -> str:
    """Return resources for a message."""
    return ", ".join(f"{key} {resources.get(key, '0')}" for key in in_order(resources))
