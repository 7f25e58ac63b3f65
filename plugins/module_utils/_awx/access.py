# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What belongs to a job template beside its fields: survey, credentials, notifications, and who may launch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._awx.assignments import TEAM, USER, Assignment, Assignments
from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller, Object
from ansible_collections.tenantry.kube.plugins.module_utils._awx.existing import Existing
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import Desired, is_marked

Change = Callable[..., Any]
# The rights to launch a job template and nothing else of it, to change it, and only to see it and its jobs.
EXECUTE, ADMIN, READ = "execute_role", "admin_role", "read_role"


class Access:
    """Reconciles job templates. Access is granted last: nobody can launch one whose survey is not right yet."""

    def __init__(self, controller: Controller, existing: Existing) -> None:
        self._controller = controller
        self._existing = existing
        self._assignments = Assignments(controller)

    def reconcile(self, wanted: Desired, live: Object | None, change: Change) -> None:
        """Pass each write to `change`. `live` is None if a check only predicts the job template."""
        path = f"job_templates/{live['id']}" if live else ""
        self.survey(wanted, path, change)
        self._credentials(wanted, live, path, change)
        self._notifications(wanted, path, change)
        self.restrict(wanted, live, change)

    def survey(self, wanted: Desired, path: str, change: Change) -> None:
        """Set or remove the survey of the job template or workflow at this path. It is empty if there is none yet."""
        before = self._controller.get(f"{path}/survey_spec") if path else {}
        after = wanted.survey or {}
        if before == after:
            return
        survey = f"{path}/survey_spec"
        if after:
            change("set_survey", lambda: self._controller.create(survey, after), before=before, after=after)
        else:
            change("remove_survey", lambda: self._controller.delete(survey), before=before)

    def _credentials(self, wanted: Desired, live: Object | None, path: str, change: Change) -> None:
        """Attach the credentials, and detach others of this module. Those of an administrator stay."""
        attached = live["summary_fields"].get("credentials", []) if live else []
        ids = {ref: self._existing.id_of(ref) for ref in wanted.credentials}
        for credential in attached:
            if is_marked(credential) and credential["id"] not in ids.values():
                body = {"id": credential["id"], "disassociate": True}
                self._post(change, "detach", f"{path}/credentials", body, credential["name"])
        for ref, number in ids.items():
            if number is None or number not in [credential["id"] for credential in attached]:
                self._post(change, "attach", f"{path}/credentials", {"id": number}, ref.name)

    def _notifications(self, wanted: Desired, path: str, change: Change) -> None:
        """Attach those for failed jobs. Others stay, because nothing tells who attached them."""
        failed = f"{path}/notification_templates_error"
        attached = [one["id"] for one in self._controller.list(failed)] if path and wanted.notifications else []
        for ref in wanted.notifications:
            number = self._existing.id_of(ref)
            if number not in attached:
                self._post(change, "attach", failed, {"id": number}, ref.name)

    def restrict(self, wanted: Desired, live: Object | None, change: Change) -> None:
        """Give the right to launch, or only to see, to the team, and take that to launch from all others that have it.

        No team may change the template: it could give itself another tenant. Users who may are left, because the user
        of the token may be one of them.
        """
        team = wanted.team or wanted.reader
        if team is None:
            return
        number = self._existing.id_of(team)
        launcher = number if wanted.team else None
        execute, admin = (self._role(live, EXECUTE), self._role(live, ADMIN)) if live else ("", "")
        teams = self._controller.list(f"{execute}/teams") if live else []
        users = self._controller.list(f"{execute}/users") if live else []
        administrators = self._controller.list(f"{admin}/teams") if live else []
        for one in administrators:
            self._revoke(change, f"{admin}/teams", one["id"], one["name"])
        for one in teams:
            if one["id"] != launcher:
                self._revoke(change, f"{execute}/teams", one["id"], one["name"])
        for one in users:
            self._revoke(change, f"{execute}/users", one["id"], one["username"])
        listed = {(TEAM, one["id"], False) for one in teams} | {(USER, one["id"], False) for one in users}
        listed |= {(TEAM, one["id"], True) for one in administrators}
        for assignment in self._assignments.of(live["id"]) if live else []:
            if not (assignment.managed and (assignment.kind, assignment.holder, assignment.changes) in listed):
                self._unassign(assignment, launcher, change)
        role = self._role(live, EXECUTE if wanted.team else READ) if live else ""
        holders = teams if wanted.team or not live else self._controller.list(f"{role}/teams")
        if number is None or number not in [one["id"] for one in holders]:
            self._post(change, "grant", f"{role}/teams", {"id": number}, team.name)

    def _unassign(self, one: Assignment, team: int | None, change: Change) -> None:
        """Delete the assignment by the same rules as for roles: no team changes, only the tenant's launches."""
        if one.kind == TEAM:
            unwanted = one.changes or (one.launches and one.holder != team)
        else:
            unwanted = one.launches and not one.changes
        if unwanted:
            change("revoke", lambda: self._controller.delete(one.path), target=one.name, before={"revoke": one.name})

    def _role(self, live: Object, role: str) -> str:
        return f"roles/{live['summary_fields']['object_roles'][role]['id']}"

    def _revoke(self, change: Change, path: str, number: int, name: str) -> None:
        self._post(change, "revoke", path, {"id": number, "disassociate": True}, name)

    def _post(self, change: Change, action: str, path: str, body: Object, name: str) -> None:
        value = {action: name}
        taken = body.get("disassociate")
        change(
            action, lambda: self._controller.create(path, body), target=name, **{"before" if taken else "after": value}
        )
