# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reservations, by which concurrent runs share a tenant's quota.

Before a run creates or enlarges virtual clusters, it adds their resources to the tenant's record, unless the record has
changed since it was read. Then it reads the record again, with the other run's reservations. A reservation counts for
some minutes, in which the virtual cluster appears and is counted itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD

PREFIX = "reserved.tenantry.dev/"
LASTS = timedelta(minutes=10)
ATTEMPTS = 10


def of(record: dict) -> dict[str, dict[str, str]]:
    """Return the reservations in a tenant's record that still count, by namespace."""
    now = clock()
    return {namespace: note.get("resources", {}) for namespace, note in _notes(record).items() if _counts(note, now)}


def reserve(
    hub: Cluster,
    record: dict,
    resources: Mapping[str, dict[str, str]],
    leaving: set[str],
    check: Callable[[dict], None],
) -> None:
    """Reserve resources, and remove the reservations of deleted virtual clusters.

    `check` is called again with the record if a concurrent run has changed it. It raises if the quota has no room.
    """
    namespace = naming.tenant_namespace(record["metadata"]["labels"][naming.LABEL_TENANT])
    for attempt in range(ATTEMPTS):
        notes = _change(record, resources, leaving)
        if not notes:
            return
        metadata = {"annotations": notes, "resourceVersion": record["metadata"]["resourceVersion"]}
        try:
            hub.merge(CONFIG_MAP, RECORD, namespace, {"metadata": metadata})
        except ApiError as error:
            if error.status != 409 or attempt == ATTEMPTS - 1:
                raise
        else:
            return
        record = hub.get(CONFIG_MAP, RECORD, namespace) or record
        check(record)


def _change(record: dict, resources: Mapping[str, dict[str, str]], leaving: set[str]) -> dict[str, str | None]:
    now = clock()
    known = _notes(record)
    gone = {namespace for namespace, note in known.items() if namespace in leaving or not _counts(note, now)}
    notes = {namespace: json.dumps({"at": now.isoformat(), "resources": one}) for namespace, one in resources.items()}
    if not resources and not gone & leaving:
        return {}  # old notes alone are not worth a write
    return {PREFIX + namespace: note for namespace, note in ({**dict.fromkeys(gone), **notes}).items()}


def _notes(record: dict) -> dict[str, dict]:
    found = {}
    for key, value in (record["metadata"].get("annotations") or {}).items():
        if key.startswith(PREFIX):
            found[key.removeprefix(PREFIX)] = json.loads(value)
    return found


def _counts(note: dict, now: datetime) -> bool:
    return now - datetime.fromisoformat(note["at"]) < LASTS
