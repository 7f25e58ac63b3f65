# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What exists in the controller: found by name within a scope, and the ids of objects that others refer to."""

from __future__ import annotations

from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._awx import objects as kinds
from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller, Object
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import (
    ENDPOINTS,
    SCOPES,
    Desired,
    Ref,
    is_marked,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, shown

# Those are listed once for all, because there are many of them.
LISTED = (kinds.WORKFLOW, kinds.JOB_TEMPLATE, kinds.TEAM)
LOOKED_UP = (kinds.FOREIGN_CREDENTIAL, kinds.BUILT_IN_TYPE, kinds.NOTIFICATION)


class Existing:
    """Objects of the controller. `ids` has None for what a check only predicts."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.ids: dict[Ref, int | None] = {}
        self._listed: dict[str, dict[str, Object]] = {}

    def list(self, organization: int) -> None:
        """Read the job templates, workflows and teams of an organization."""
        for kind in LISTED:
            found = self.controller.list(ENDPOINTS[kind], organization=organization)
            self._listed[kind] = {live["name"]: live for live in found}

    def marked(self, kind: str) -> dict[str, Object]:
        """Return the listed objects that the module created, by name."""
        return {name: live for name, live in self._listed.get(kind, {}).items() if is_marked(live)}

    def resolved(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields with ids in place of references."""
        return {name: self.id_of(value) if isinstance(value, Ref) else value for name, value in fields.items()}

    def id_of(self, ref: Ref) -> int | None:
        """Return the id, or None if a check only predicts the object. Raise an Obstacle if it must exist already."""
        if ref not in self.ids and ref.kind in LOOKED_UP:
            self.ids[ref] = self._looked_up(ref)
        return self.ids[ref]

    def _looked_up(self, ref: Ref) -> int:
        query = {"namespace" if ref.kind == kinds.BUILT_IN_TYPE else "name": ref.name}
        found = self.controller.list(ENDPOINTS[ref.kind], **query)
        if len(found) != 1:
            raise Obstacle(
                f"the {ref.kind} {shown(ref.name)} exists {len(found)} times for this user. "
                "Create it, or correct its name, so that there is one"
            )
        return found[0]["id"]

    def find(self, wanted: Desired, fields: dict[str, Any]) -> Object | None:
        """Return the object of that name. Raise an Obstacle if somebody else created it."""
        live = self._find(wanted, fields)
        if live is not None and not is_marked(live):
            raise Obstacle(
                f"the {wanted.kind.replace('_', ' ')} {shown(wanted.name)} exists, and this module did not create it: "
                f"its description does not end in {kinds.MARK}. Rename or delete it, or set another organization"
            )
        return live

    def _find(self, wanted: Desired, fields: dict[str, Any]) -> Object | None:
        if wanted.kind in LISTED:
            return self._listed.get(wanted.kind, {}).get(wanted.name)
        scope = {field: fields[field] for field in SCOPES.get(wanted.kind, ())}
        if None in scope.values():  # what it would be in does not exist yet
            return None
        found = self.controller.list(ENDPOINTS[wanted.kind], name=wanted.name, **scope)
        return found[0] if found else None
