# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Create, change and delete objects of a controller, a row for each. An error of one leaves the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._awx import objects as kinds
from ansible_collections.tenantry.kube.plugins.module_utils._awx.access import Access
from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller, Object
from ansible_collections.tenantry.kube.plugins.module_utils._awx.existing import Existing
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import (
    ENDPOINTS,
    Desired,
    Ref,
    differing,
    is_marked,
    redacted,
)
from ansible_collections.tenantry.kube.plugins.module_utils._awx.workflow import Workflow
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, shown
from ansible_collections.tenantry.kube.plugins.module_utils._module import Row, attempt

POLL_SECONDS = 1.0  # a controller's REST API has nothing to wait on
_UPDATING = ("new", "pending", "waiting", "running")


class Changes:
    """The changes of one object: actions and a difference as modules return them, and whether to write at all."""

    def __init__(self, wanted_kind: str, name: str, *, check_mode: bool) -> None:
        self._object = {"kind": wanted_kind, "name": name}
        self.check_mode = check_mode
        self.actions: list[dict[str, Any]] = []
        self.diff: list[dict[str, Any]] = []

    def add(self, action: str, write: Callable[[], Any], *, before: Any = None, after: Any = None, **more: Any) -> Any:
        """Write, but not in check mode. Then note the action."""
        done = None if self.check_mode else write()
        self.actions.append({"action": action, **self._object, **more})
        header = f"{self._object['kind']} {self._object['name']}"
        self.diff.append(
            {"before_header": header, "after_header": header, "before": before or {}, "after": after or {}}
        )
        return done

    def row(self) -> Row:
        return {"changed": bool(self.actions), "actions": self.actions, "diff": self.diff}


class Reconciler:
    """One run over the objects, in their order."""

    def __init__(
        self, controller: Controller, *, check_mode: bool, update_secrets: bool = False, wait_timeout: int = 300
    ) -> None:
        self._controller = controller
        self._existing = Existing(controller)
        self._access = Access(controller, self._existing)
        self._workflow = Workflow(controller, self._existing)
        self._check_mode = check_mode
        self._update_secrets = update_secrets
        self._wait_timeout = wait_timeout
        self._failed: set[Ref] = set()

    def run(self, wanted: Sequence[Desired]) -> list[Row]:
        """Return a row per object: first the organization, then what is to be deleted, then the others."""
        [organization] = [one for one in wanted if one.kind == kinds.ORGANIZATION]
        others = [one for one in wanted if one.kind != kinds.ORGANIZATION]
        rows = [self._row(organization)]
        if organization.ref in self._failed:
            return rows + [self._not_done(one, organization.ref) for one in others]
        rows += self._delete_gone(others)
        rows += [self._row(one) for one in others]
        return rows + self._delete_credentials(organization.ref, others)

    def _row(self, wanted: Desired) -> Row:
        blocked = next((ref for ref in wanted.references() if ref in self._failed), None)
        if blocked:
            return self._not_done(wanted, blocked)
        changes = Changes(wanted.kind, wanted.name, check_mode=self._check_mode)
        problem, _done = attempt(lambda: self._reconcile(wanted, changes))
        if problem is None:
            return {**_named(wanted.kind, wanted.name), **changes.row()}
        self._failed.add(wanted.ref)
        return {**_named(wanted.kind, wanted.name), **changes.row(), "error": problem}

    def _not_done(self, wanted: Desired, blocked: Ref) -> Row:
        self._failed.add(wanted.ref)
        reason = f"the {blocked.kind.replace('_', ' ')} {shown(blocked.name)} failed"
        return {**_named(wanted.kind, wanted.name), "changed": False, "not_done": reason}

    def _reconcile(self, wanted: Desired, changes: Changes) -> None:
        fields = self._existing.resolved({"name": wanted.name, **wanted.fields})
        live = self._existing.find(wanted, fields)
        if live is None:
            live = self._create(wanted, fields, changes)
        else:
            self._update(wanted, fields, live, changes)
        self._existing.ids[wanted.ref] = live["id"] if live else None
        if wanted.kind == kinds.ORGANIZATION and live:
            self._existing.list(live["id"])
        if wanted.kind == kinds.PROJECT and live and not self._check_mode:
            self._wait_for_project(live["id"])
        if wanted.kind == kinds.JOB_TEMPLATE:
            self._access.reconcile(wanted, live, changes.add)
        if wanted.kind == kinds.WORKFLOW:
            self._access.survey(wanted, f"{ENDPOINTS[wanted.kind]}/{live['id']}" if live else "", changes.add)
            self._workflow.reconcile(wanted, live, changes.add)
            self._access.restrict(wanted, live, changes.add)

    def _create(self, wanted: Desired, fields: dict[str, Any], changes: Changes) -> Object | None:
        return changes.add(
            "create",
            lambda: self._controller.create(ENDPOINTS[wanted.kind], fields),
            after=redacted(fields, wanted.secrets),
        )

    def _update(self, wanted: Desired, fields: dict[str, Any], live: Object, changes: Changes) -> None:
        paths = differing(fields, live, wanted.secrets)
        if self._update_secrets and wanted.secrets:
            paths = sorted({*paths, "inputs"})
        if not paths:
            return
        after = {path: fields[path] for path in paths}
        before = {path: live.get(path) for path in paths}
        changes.add(
            "update",
            lambda: self._controller.update(f"{ENDPOINTS[wanted.kind]}/{live['id']}", after),
            before=redacted(before, wanted.secrets),
            after=redacted(after, wanted.secrets),
            paths=paths,
        )

    def _wait_for_project(self, project: int) -> None:
        """Wait until the project has its files: a controller rejects a job template whose playbook it has not."""
        end = time.monotonic() + self._wait_timeout
        while (status := self._controller.get(f"projects/{project}")["status"]) in _UPDATING:
            if time.monotonic() > end:
                raise Obstacle(
                    f"the project was not updated within {self._wait_timeout} s. Look into its job, or set wait_timeout"
                )
            time.sleep(POLL_SECONDS)
        if status != "successful":
            raise Obstacle(
                f"the last update of the project is {status}. Correct project_url, project_branch or "
                "project_credential, or update the project in the controller, then run again"
            )

    def _delete_gone(self, wanted: Sequence[Desired]) -> list[Row]:
        """Delete workflows, job templates, schedules and teams that the module created and that are not wanted."""
        kept = {one.ref for one in wanted}
        rows = [
            self._deleted(kind, live)
            for kind in (kinds.WORKFLOW, kinds.JOB_TEMPLATE, kinds.TEAM)
            for name, live in self._existing.marked(kind).items()
            if Ref(kind, name) not in kept
        ]
        scheduled = [one.name for one in wanted if one.kind == kinds.JOB_TEMPLATE and not one.reader]
        for name in scheduled:
            rows += self._delete_schedules(name, kept)
        return rows

    def _delete_schedules(self, template: str, kept: set[Ref]) -> list[Row]:
        live = self._existing.marked(kinds.JOB_TEMPLATE).get(template)
        if live is None:
            return []
        path = f"{ENDPOINTS[kinds.JOB_TEMPLATE]}/{live['id']}/{ENDPOINTS[kinds.SCHEDULE]}"
        problem, found = attempt(lambda: self._controller.list(path))
        if problem is not None:
            return [{**_named(kinds.SCHEDULE, template), "changed": False, "error": problem}]
        gone = [one for one in found or [] if is_marked(one) and Ref(kinds.SCHEDULE, one["name"]) not in kept]
        return [self._deleted(kinds.SCHEDULE, one) for one in gone]

    def _delete_credentials(self, organization: Ref, wanted: Sequence[Desired]) -> list[Row]:
        """Delete credentials that are not wanted any more, after jobs have others. They would keep a valid secret."""
        refs = [one.ref for one in wanted if one.kind == kinds.CREDENTIAL]
        number = self._existing.id_of(organization)
        if number is None or self._failed.intersection(refs):  # of one that failed, the id may be unknown
            return []
        problem, found = attempt(lambda: self._controller.list(ENDPOINTS[kinds.CREDENTIAL], organization=number))
        if problem is not None:
            return [{**_named(kinds.CREDENTIAL, organization.name), "changed": False, "error": problem}]
        kept = [self._existing.id_of(ref) for ref in refs]
        gone = [one for one in found or [] if is_marked(one) and one["id"] not in kept]
        return [self._deleted(kinds.CREDENTIAL, one) for one in gone]

    def _deleted(self, kind: str, live: Object) -> Row:
        changes = Changes(kind, live["name"], check_mode=self._check_mode)
        before = {"name": live["name"], "description": live["description"]}
        path = f"{ENDPOINTS[kind]}/{live['id']}"
        problem, _done = attempt(lambda: changes.add("delete", lambda: self._controller.delete(path), before=before))
        row = {**_named(kind, live["name"]), **changes.row()}
        return row if problem is None else {**row, "error": problem}


def _named(kind: str, name: str) -> Row:
    return {"kind": kind, "name": name}
