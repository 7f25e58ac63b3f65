# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Former administrators, on the hub's record of their tenant, as long as one of its hosts has not been asked.

The hub's record of a user goes with the user, and in the virtual cluster an administrator can delete all that tells of
it. So a run that reaches not every host leaves a note for the next one.
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
    """What the hub had of a user, and the virtual clusters that are done with."""

    before: OnRecord
    done: frozenset[str] = frozenset()


def _before(note: Note | None, found: Sequence[OnRecord]) -> OnRecord | None:
    return note.before if note else next(iter(found), None)


def rights(note: Note | None, found: Sequence[OnRecord]) -> tuple[str | None, dict[str, str] | None]:
    before = _before(note, found)
    return (before.role, before.access) if before else (None, None)


def due(note: Note | None, found: Sequence[OnRecord], done: Iterable[str]) -> Note | None:
    """The note for a user of whom the hub has what is `found`. A developer may have asked for a virtual cluster."""
    before = _before(note, found)
    if before is None or {"admin", "developer"}.isdisjoint((before.role, *(before.access or {}).values())):
        return None
    return Note(before, frozenset(done) | (note.done if note else frozenset()))


def read(hub: Cluster, tenants: Sequence[str]) -> dict[tuple[str, str], Note]:
    """By tenant and user."""
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
    text = note and json.dumps({"before": asdict(note.before), "done": sorted(note.done)}, sort_keys=True)
    body = {"metadata": {"annotations": {f"{PREFIX}{user}": text}}}
    hub.merge(CONFIG_MAP, RECORD, naming.tenant_namespace(tenant), body)
