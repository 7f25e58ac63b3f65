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
    runs: Mapping[str, str] = field(default_factory=dict)  # that are about to apply it, and when each said so
    deleting: bool = False  # a run has begun to delete the virtual cluster
    in_use: Resources = field(default_factory=dict)  # at last sight, if more than `resources`

    @classmethod
    def of(cls, host: str, resources: Resources, *, run: str = "", in_use: Resources | None = None) -> Promise:
        """Return a promise of now, which `run`, if given, is about to apply.

        `in_use` is kept only if it is more than the resources.
        """
        amounts = allocation.larger(resources, {})
        more = in_use if in_use and not allocation.fits(in_use, amounts) else {}
        now = clock().isoformat()
        return cls(host, amounts, now, {run: now} if run else {}, in_use=dict(more))

    @property
    def pending(self) -> bool:
        """Whether a run has not noted that it has applied it, or could not."""
        return bool(self.runs)

    @property
    def held(self) -> bool:
        """Whether a run may be applying it now. Nothing else changes it meanwhile."""
        return bool(self._living())

    @property
    def until(self) -> datetime | None:
        """When the last of its runs does not count any more."""
        return max(self._living().values(), default=None)

    def held_beside(self, run: str) -> bool:
        """Return whether another run may be applying it now."""
        return bool(self._living().keys() - {run})

    def ends_soon(self, run: str) -> bool:
        """Return whether it must be renewed before the run applies it."""
        return run in self.runs and _end(self.runs[run]) - clock() <= LASTS * 3 / 4

    def beside(self, other: Promise) -> Promise:
        """Return it with the runs that may be applying another one now."""
        return replace(self, runs={**{run: other.runs[run] for run in other._living()}, **self.runs})

    def without(self, run: str) -> Promise:
        """Return it as a run leaves it that has ended."""
        return replace(self, runs={name: at for name, at in self.runs.items() if name != run})

    def _living(self) -> dict[str, datetime]:
        """Return when each run that may be applying it now does not count any more."""
        ends = {run: _end(at) for run, at in self.runs.items()}
        return {run: end for run, end in ends.items() if end > clock()}

    @property
    def counted(self) -> dict[str, str]:
        """What counts against the quota if its host does not answer."""
        return allocation.larger(self.resources, self.in_use)

    def renewed(self, run: str) -> Promise:
        """Return it as a promise of now that the run is about to apply."""
        now = clock().isoformat()
        return replace(self, at=now, runs={**self.runs, run: now})

    def leaving(self) -> Promise:
        """Return it for the time of the deletion."""
        return replace(self, at=clock().isoformat(), deleting=True, runs={})


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


def beginning(record: dict, unreachable: Collection[str], found: Collection[str]) -> dict[str, Promise]:
    """Return those of virtual clusters that a run may be creating on hosts that answer, other than those found."""
    return {
        name: one for name, one in of(record).items() if one.held and one.host not in unreachable and name not in found
    }


def concerned(record: dict | None, unreachable: Mapping[str, str]) -> dict[str, str]:
    """Return those of the hosts that do not answer on which the tenant has, or may have, virtual clusters."""
    if record is None or not are_kept(record):
        return dict(unreachable)
    hosts = {promise.host for promise in of(record).values()}
    return {name: problem for name, problem in unreachable.items() if name in hosts}


def as_limits(promise: Promise) -> dict[str, dict[str, str | None]]:
    """Return a promise like the resources of a virtual cluster that can be read: the limits, and no use."""
    return {key: {"used": None, "hard": amount} for key, amount in allocation.larger(promise.resources, {}).items()}


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
            for at in (promise.at, *promise.runs.values()):
                datetime.fromisoformat(at)
            allocation.total([promise.counted])
    except Exception:  # pylint: disable=broad-except  # somebody wrote something else there
        return None
    return promises


def _reserved(record: dict) -> dict[str, Promise]:
    found = {}
    for key, value in _annotations(record).items():
        if key.startswith(RESERVED):
            note = json.loads(value)
            promise = Promise("", allocation.larger(note.get("resources", {}), {}), note["at"], {"": note["at"]})
            if promise.held:
                found[key.removeprefix(RESERVED)] = promise
    return found


def _end(at: str) -> datetime:
    return datetime.fromisoformat(at) + LASTS


def _annotations(record: dict) -> dict[str, str]:
    return record["metadata"].get("annotations") or {}
