# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Promises: which resources of a tenant's quota each virtual cluster has, and on which host.

They are an annotation of the tenant's record on the hub. Before a run creates or changes a virtual cluster, it writes
the promise, unless the record has changed since it was read. Then it reads the record again, with the other run's
promises: so concurrent runs share a quota. A promise also counts while its host does not answer.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD

ANNOTATION = "tenantry.dev/promises"
# One annotation for each virtual cluster that a run was about to create or enlarge, before there were promises.
RESERVED = "reserved.tenantry.dev/"
# So long may a run take from the promise to the objects.
LASTS = timedelta(minutes=10)
ATTEMPTS = 30
# The status of a virtual cluster on a host that does not answer.
UNKNOWN = "Unknown"
LONGEST_PAUSE = 0.2  # seconds

Resources = Mapping[str, str]


@dataclass(frozen=True)
class Promise:
    """What a virtual cluster has of the quota."""

    host: str
    resources: Resources
    at: str  # when it was written: no two are the same
    pending: bool = False  # a run is about to apply it
    deleting: bool = False  # a run has begun to delete the virtual cluster
    in_use: Resources = field(default_factory=dict)  # at last sight, if more than `resources`

    @classmethod
    def of(cls, host: str, resources: Resources, *, pending: bool = False, in_use: Resources | None = None) -> Promise:
        """Return a promise of now. `in_use` is kept only if it is more than the resources."""
        amounts = allocation.larger(resources, {})
        more = in_use if in_use and not allocation.fits(in_use, amounts) else {}
        return cls(host, amounts, clock().isoformat(), pending=pending, in_use=dict(more))

    @property
    def held(self) -> bool:
        """Whether a run may be applying it now. Nothing else changes it meanwhile."""
        return self.pending and self._age < LASTS

    @property
    def ends_soon(self) -> bool:
        """Whether it must be renewed before its run applies it."""
        return self.pending and self._age >= LASTS / 4

    @property
    def _age(self) -> timedelta:
        return clock() - datetime.fromisoformat(self.at)

    @property
    def counted(self) -> dict[str, str]:
        """What counts against the quota if its host does not answer."""
        return allocation.larger(self.resources, self.in_use)

    def renewed(self) -> Promise:
        """Return it as one of now."""
        return replace(self, at=clock().isoformat())

    def leaving(self) -> Promise:
        """Return it for the time of the deletion."""
        return replace(self.renewed(), deleting=True, pending=False)


def are_kept(record: dict) -> bool:
    """Return whether the record has promises, which this release can read."""
    return _read(record) is not None


def problem(record: dict) -> str:
    """Return why the promises of a record cannot be read, or an empty string."""
    if are_kept(record) or ANNOTATION not in _annotations(record):
        return ""
    where = naming.tenant_namespace(record["metadata"]["labels"][naming.LABEL_TENANT])
    return (
        f"annotation {ANNOTATION} of ConfigMap {RECORD} in {where}: cannot be read. It is written again when all "
        "members answer"
    )


def of(record: dict) -> dict[str, Promise]:
    """Return the promises in a tenant's record by namespace, and those of runs before there were promises."""
    return {**_reserved(record), **(_read(record) or {})}


def away(record: dict, unreachable: Collection[str], found: Collection[str]) -> dict[str, Promise]:
    """Return the promises of virtual clusters on hosts that do not answer, other than those found."""
    return {name: one for name, one in of(record).items() if one.host in unreachable and name not in found}


def beginning(record: dict, unreachable: Collection[str], found: Collection[str]) -> list[str]:
    """Return the virtual clusters that a run may be creating on hosts that answer, other than those found."""
    return sorted(
        name for name, one in of(record).items() if one.held and one.host not in unreachable and name not in found
    )


def concerned(record: dict | None, unreachable: Mapping[str, str]) -> dict[str, str]:
    """Return those of the hosts that do not answer on which the tenant has, or may have, virtual clusters."""
    if record is None or not are_kept(record):
        return dict(unreachable)
    hosts = {promise.host for promise in of(record).values()}
    return {name: problem for name, problem in unreachable.items() if name in hosts}


def as_limits(promise: Promise) -> dict[str, dict[str, str | None]]:
    """Return a promise like the resources of a virtual cluster that can be read: the limits, and no use."""
    return {key: {"used": None, "hard": promise.resources[key]} for key in naming.RESOURCES}


def update(
    hub: Cluster,
    record: dict,
    change: Callable[[dict[str, Promise]], dict[str, Promise]],
    check: Callable[[dict], None] | None = None,
    *,
    rebuild: bool = False,
) -> dict:
    """Change the promises of a tenant. Return its record afterwards.

    `change` returns all promises for those there are. `check` is called again with the record if a concurrent run has
    changed it, and raises if the quota has no room. `rebuild` says that `change` knows all virtual clusters.
    """
    namespace = naming.tenant_namespace(record["metadata"]["labels"][naming.LABEL_TENANT])
    for attempt in range(ATTEMPTS):
        before, kept = of(record), are_kept(record)
        after = change(dict(before))
        if after == before and (kept or not rebuild):
            return record
        if not kept and not rebuild:
            raise Obstacle(f"record of {namespace}: its promises were removed during this run. Run again")
        try:
            metadata = _metadata(record, after)
            return hub.merge(CONFIG_MAP, RECORD, namespace, {"metadata": metadata}, manager=naming.PROMISES_MANAGER)
        except ApiError as error:
            if error.status != 409 or attempt == ATTEMPTS - 1:
                raise
        time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311  # concurrent runs must not meet again
        record = hub.get(CONFIG_MAP, RECORD, namespace) or record
        if check:
            check(record)
    return record


def begin(hub: Cluster, tenant: str) -> None:
    """Note on the record of a new tenant that it has no virtual clusters, also not on hosts that do not answer."""
    record = hub.get(CONFIG_MAP, RECORD, naming.tenant_namespace(tenant))
    if record:  # which may have promises of a concurrent run already
        update(hub, record, lambda before: before, rebuild=True)


def end(hub: Cluster, tenant: str, namespace: str, promise: Promise, *, gone: bool) -> None:
    """Remove the promise of a virtual cluster that a run has deleted, or note that it is being deleted.

    A promise that is another than the one that the run has seen stays.
    """
    record = hub.get(CONFIG_MAP, RECORD, naming.tenant_namespace(tenant))

    def without(before: dict[str, Promise]) -> dict[str, Promise]:
        if before.get(namespace) == promise and not promise.held:
            if gone:
                del before[namespace]
            else:
                before[namespace] = promise.leaving()
        return before

    if record and are_kept(record):
        update(hub, record, without)


def _metadata(record: dict, promises: Mapping[str, Promise]) -> dict:
    former = [key for key in _annotations(record) if key.startswith(RESERVED)]
    text = json.dumps({name: _written(promise) for name, promise in promises.items()}, sort_keys=True)
    annotations = {**dict.fromkeys(former), ANNOTATION: text}
    return {"annotations": annotations, "resourceVersion": record["metadata"]["resourceVersion"]}


def _written(promise: Promise) -> dict:
    return {key: value for key, value in asdict(promise).items() if value or key == "host"}


def _read(record: dict) -> dict[str, Promise] | None:
    try:
        raw = json.loads(_annotations(record).get(ANNOTATION, ""))
        promises = {name: Promise(**promise) for name, promise in raw.items()}
        for promise in promises.values():
            datetime.fromisoformat(promise.at)
            allocation.total([promise.counted])
    except Exception:  # pylint: disable=broad-except  # somebody wrote something else there
        return None
    return promises


def _reserved(record: dict) -> dict[str, Promise]:
    found = {}
    for key, value in _annotations(record).items():
        if key.startswith(RESERVED):
            note = json.loads(value)
            promise = Promise("", allocation.larger(note.get("resources", {}), {}), note["at"], pending=True)
            if promise.held:
                found[key.removeprefix(RESERVED)] = promise
    return found


def _annotations(record: dict) -> dict[str, str]:
    return record["metadata"].get("annotations") or {}
