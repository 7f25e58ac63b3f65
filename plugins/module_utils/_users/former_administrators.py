# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Former administrators, noted in their tenant's record until all hosts were reached.

The hub's record of a user is deleted with the user, and in a virtual cluster an administrator can delete all traces. So
a run that does not reach every host leaves a note for the next one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import OnRecord
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD

PREFIX = "former.tenantry.dev/"


@dataclass(frozen=True)
class Note:
    """A user as the hub recorded it, and the virtual clusters that need no more work."""

    before: OnRecord
    done: frozenset[str] = frozenset()


def _before(note: Note | None, found: Sequence[OnRecord]) -> OnRecord | None:
    return note.before if note else next(iter(found), None)


def rights(note: Note | None, found: Sequence[OnRecord]) -> tuple[str | None, dict[str, str] | None]:
    """Return role and access from before, from the note or the hub's record. (None, None) if there is neither."""
    before = _before(note, found)
    return (before.role, before.access) if before else (None, None)


def due(note: Note | None, found: Sequence[OnRecord], done: Iterable[str]) -> Note | None:
    """Return the note for a user whom the hub records as `found`, or None.

    Developers may have requested virtual clusters.
    """
    before = _before(note, found)
    if before is None or {"admin", "developer"}.isdisjoint((before.role, *(before.access or {}).values())):
        return None
    return Note(before, frozenset(done) | (note.done if note else frozenset()))


def read(hub: Cluster, tenants: Sequence[str]) -> dict[tuple[str, str], Note]:
    """Return the notes by tenant and user."""
    found = {}
    records = hub.map(lambda tenant: hub.get(CONFIG_MAP, RECORD, naming.tenant_namespace(tenant)), tenants)
    for tenant, record in zip(tenants, records, strict=True):
        record = record or {"metadata": {}}
        for key, text in (record["metadata"].get("annotations") or {}).items():
            if key.startswith(PREFIX):
                note, user = json.loads(text), key.removeprefix(PREFIX)
                found[tenant, user] = Note(OnRecord(**{**note["before"], "name": user}), frozenset(note["done"]))
    return found


def write(hub: Cluster, tenant: str, user: str, note: Note | None) -> None:
    """Write a note to the tenant's record, or remove it if None."""
    text = note and json.dumps({"before": asdict(note.before), "done": sorted(note.done)}, sort_keys=True)
    body = {"metadata": {"annotations": {f"{PREFIX}{user}": text}}}
    hub.merge(CONFIG_MAP, RECORD, naming.tenant_namespace(tenant), body)
