# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record the newest snapshot of a virtual cluster on its namespace, which the store cannot change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, retry
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import BadFile, Origin, is_name
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import now

ANNOTATION = "tenantry.dev/newest-snapshot"
CONFLICT_SECONDS = 30  # for a namespace that others change meanwhile
NAMES = "%Y%m%dT%H%M%SZ"  # of snapshots that get none


def noted(namespace: dict | None) -> dict | None:
    """Return `snapshot` and `sequence` of the newest one, or None if nothing is recorded."""
    text = ((namespace or {}).get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return json.loads(text) if text else None


def taken(noted_one: dict) -> datetime:
    """Return when a recorded snapshot was taken, by its sequence. Later than that if the clock was set back."""
    return datetime.fromtimestamp(int(noted_one["sequence"]), UTC)


def next_sequence(namespace: dict) -> int:
    """Return the time, or more than the last number if the clock was set back.

    The time lets a recreated virtual cluster continue the sequence.
    """
    before = noted(namespace)
    return max(int(now().timestamp()), before["sequence"] + 1 if before else 0)


def note(host: Cluster, origin: Origin) -> None:
    """Record a snapshot as the newest, unless a concurrent run has recorded a newer one.

    Nothing is recorded if the virtual cluster has been deleted meanwhile.
    """
    retry(lambda: _note_if_newer(host, origin), lambda error: error.status == 409, Deadline(CONFLICT_SECONDS))


def _note_if_newer(host: Cluster, origin: Origin) -> None:
    """Raise an ApiError with status 409 if the namespace is changed at the same time."""
    namespace = host.get(NAMESPACE, origin.namespace)
    newest = noted(namespace)
    if namespace is None or (newest and newest["sequence"] > origin.sequence):
        return
    text = json.dumps({"snapshot": origin.snapshot, "sequence": origin.sequence})
    metadata = {"annotations": {ANNOTATION: text}, "resourceVersion": namespace["metadata"]["resourceVersion"]}
    host.merge(NAMESPACE, origin.namespace, None, {"metadata": metadata})


def check(namespace: dict | None, origin: Origin) -> str | None:
    """Check that an authenticated snapshot is the newest. Return a warning if nothing is recorded.

    Raise a TenantryError if a newer one was taken.
    """
    newest = noted(namespace)
    if newest is None:
        return (
            f"{origin.namespace}: snapshot {origin.snapshot} of {origin.created} is the newest in the store. A newer "
            "one may have been taken, because that virtual cluster is gone or has no record of it. Compare the time "
            "with the schedule of your backups"
        )
    if origin.sequence < newest["sequence"]:
        raise TenantryError(
            f"snapshot: the newest in the store is {origin.snapshot} of {origin.created}, but {newest['snapshot']} was "
            f"taken after it and is missing there. Use the store that has it, or set snapshot to {origin.snapshot} to "
            "restore the older one"
        )
    return None


def check_unreadable(namespace: dict | None, origin: Origin, unreadable: Iterable[BadFile]) -> None:
    """Raise a TenantryError if an unreadable snapshot may be newer than this one."""
    newer = [bad for bad in unreadable if _may_be_newer(bad.file.rpartition(".")[0], namespace, origin)]
    if newer:
        raise TenantryError(
            f"snapshot: the newest that can be read is {origin.snapshot} of {origin.created}, but "
            f"{', '.join(bad.file for bad in newer[:3])} may be newer: {newer[0]}. Repair it or move it away, or set "
            f"snapshot to {origin.snapshot} to restore the older one"
        )


def _may_be_newer(name: str, namespace: dict | None, origin: Origin) -> bool:
    """Compare the time in its name. For other names, only the record tells."""
    if not is_name(name):
        return False
    if taken := _time_in(name):
        return taken > (_time_in(origin.snapshot) or datetime.fromisoformat(origin.created))
    newest = noted(namespace)
    return newest is None or origin.sequence < newest["sequence"]


def _time_in(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, NAMES).replace(tzinfo=UTC)
    except ValueError:
        return None
