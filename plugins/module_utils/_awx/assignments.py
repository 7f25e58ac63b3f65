# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role assignments of AWX 24 and later. What is assigned here is not in the roles of an object, but counts."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller, Object
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError

TEAM, USER = "team", "user"
_PATHS = {TEAM: "role_team_assignments", USER: "role_user_assignments"}
_MODELS = {"content_type__model__in": "jobtemplate,workflowjobtemplate"}
# Actions of permissions such as awx.execute_jobtemplate.
_LAUNCH, _CHANGE = "execute", frozenset({"change", "delete"})


class Assignment(NamedTuple):
    """What a team or user may do with a job template or workflow. A managed role is one that every controller has."""

    path: str
    kind: str
    holder: int
    name: str
    managed: bool
    launches: bool
    changes: bool


class Assignments:
    """All assignments for job templates and workflows, whose ids are unique together, read once."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._by_template: dict[int, list[Assignment]] | None = None

    def of(self, template: int) -> list[Assignment]:
        """Return those for one job template or workflow. A controller before AWX 24 has none."""
        if self._by_template is None:
            self._by_template = self._read()
        return self._by_template.get(template, [])

    def _read(self) -> dict[int, list[Assignment]]:
        try:
            roles = self._controller.list("role_definitions", **_MODELS)
        except ApiError as error:
            if error.status != 404:
                raise
            return {}
        by_id = {role["id"]: role for role in roles}
        found: dict[int, list[Assignment]] = {}
        for kind, path in _PATHS.items():
            for one in self._controller.list(path, **_MODELS):
                role = by_id.get(one["role_definition"], {"permissions": [], "managed": False})
                may = {_action(permission) for permission in role["permissions"]}
                assignment = Assignment(
                    path=f"{path}/{one['id']}",
                    kind=kind,
                    holder=one[kind],
                    name=_name(one["summary_fields"][kind]),
                    managed=role["managed"],
                    launches=_LAUNCH in may,
                    changes=bool(may & _CHANGE),
                )
                found.setdefault(int(one["object_id"]), []).append(assignment)
        return found


def _action(permission: str) -> str:
    """Return execute for awx.execute_jobtemplate."""
    return permission.rpartition(".")[2].partition("_")[0]


def _name(holder: Object) -> str:
    return holder.get("name") or holder["username"]
