# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_housekeeping: delete, pause, resume or restart virtual clusters when due."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
    run_each,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import paused_frees_quota
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    activity,
    certificate_lifetime,
    connection,
    delete,
    lifecycle,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import LifecyclePlan
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import (
    expiry,
    parse_sleep,
)

NOTES_ANNOTATION = "tenantry.dev/housekeeping"
SCHEDULE = "schedule"
IDLE = "idle"


@dataclass(frozen=True)
class Notes:
    """Notes of a run for the next one, an annotation of the namespace."""

    slept: datetime | None = None  # when it was paused by a run
    why: str | None = None  # SCHEDULE or IDLE, while it is paused for it
    sample: tuple[int, ...] = ()
    since: datetime | None = None  # when the sample was seen to change last

    @classmethod
    def of(cls, vcluster: VirtualCluster) -> Notes:
        """Read the notes. Return empty ones if the annotation is missing or invalid."""
        text = vcluster.annotations.get(NOTES_ANNOTATION)
        try:
            found = json.loads(text or "{}")
            slept, since = (moment(found[key]) if found.get(key) else None for key in ("slept", "since"))
            return cls(slept, found.get("why"), tuple(found.get("sample") or ()), since)
        except (ValueError, TypeError, AttributeError):  # somebody wrote something else there
            return cls()

    def as_text(self) -> str:
        """Return the annotation."""
        found = {"slept": self.slept and stamp(self.slept), "why": self.why, "sample": self.sample}
        return json.dumps({**found, "since": self.since and stamp(self.since)}, sort_keys=True)

    def seen(self, sample: list[int] | None, now: datetime) -> Notes:
        """Return the notes with the current sample, or None without one."""
        if sample is None or (self.since and tuple(sample) == self.sample):
            return self
        return replace(self, sample=tuple(sample), since=now)


@dataclass(frozen=True)
class Decision:
    """What is due for a virtual cluster, and why."""

    action: str  # delete, pause, resume, restart or none
    reason: str
    notes: Notes


def decide(
    found: VirtualCluster,
    notes: Notes,
    *,
    paused: bool,
    now: datetime,
    started: datetime | None = None,
) -> Decision:
    """Decide what is due for one virtual cluster, whose oldest process runs since `started`. Pure."""
    decision = _due(found, notes, paused=paused, now=now)
    if decision.action != "none" or not started or now < certificate_lifetime.renewal_due(started):
        return decision
    reason = f"its certificates are valid until {stamp(certificate_lifetime.valid_until(started))} at least"
    if found.record.persistence == "none":
        return replace(decision, reason=f"{reason}; it has no volume and is not restarted. Recreate it before then")
    return replace(decision, action="restart", reason=f"{reason}; a restart renews them")


def _due(found: VirtualCluster, notes: Notes, *, paused: bool, now: datetime) -> Decision:
    """Decide by the options of the virtual cluster. Pure."""
    record = found.record
    expires = expiry(found.created, record)
    if expires and expires <= now and not record.deletion_protection:
        return Decision("delete", f"expired at {stamp(expires)}", notes)
    late = f"expired at {stamp(expires)}, kept by deletion_protection" if expires and expires <= now else ""
    if not record.sleep:
        return Decision("none", late, notes)
    sleep = parse_sleep(record.sleep)
    begun = sleep.begun(now)
    if paused:
        if notes.why == SCHEDULE and begun is None:
            return Decision("resume", "its time to sleep has ended", replace(notes, why=None))
        return Decision("none", late, notes)
    notes = replace(notes, why=None)
    # If a user created or resumed it during a sleep window, it runs until the next window.
    awake = max(moment(found.created), notes.slept or datetime.min.replace(tzinfo=UTC))
    if begun and awake < begun:
        return Decision("pause", f"its time to sleep began at {stamp(begun)}", replace(notes, slept=now, why=SCHEDULE))
    if sleep.idle and notes.since and now - notes.since >= timedelta(seconds=sleep.idle):
        return Decision("pause", f"not used since {stamp(notes.since)}", replace(notes, slept=now, why=IDLE))
    return Decision("none", late, notes)


@dataclass
class Due:
    """What is due for one virtual cluster, with its row."""

    found: VirtualCluster
    row: dict
    notes: Notes = field(default_factory=Notes)  # for the next run
    before: Notes = field(default_factory=Notes)
    plan: Plan | LifecyclePlan | None = None
    problem: str = ""  # for which the row fails, although it is executed

    @property
    def namespace(self) -> str:
        return self.found.namespace

    @property
    def resumes(self) -> bool:
        return self.row["action"] == "resume"

    @property
    def wanted(self) -> Wanted | None:
        """What it is to have of the quota, if that changes."""
        if not isinstance(self.plan, LifecyclePlan) or not self.plan.changes_resources or "error" in self.row:
            return None
        resources = {**self.found.record.resources, **(self.plan.kept or {})}
        return Wanted(self.found.tenant, self.namespace, resources)

    def refuse(self, problem: TenantryError) -> None:
        """Do nothing for it."""
        self.plan = None
        self.row |= {"error": str(problem), "changed": False, "actions": [], "diff": []}


def run(context: Context, items: list[dict], options: VClusterOptions) -> list[dict]:
    """Do what is due for the virtual clusters of one tenant or of all, and return a row for each."""
    tenant = items[0]["tenant"]
    if tenant is not None:
        naming.check_name(tenant, "tenant")
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        promised = {name: one for record in places.records.values() for name, one in promises.of(record).items()}
        for problem in places.unreachable.values():
            context.warn(problem)
        found = [one for one in places.found.values() if tenant in (None, one.tenant) and not one.is_deleting]
        found.sort(key=lambda one: (one.tenant, one.name))
        due = run_concurrently(lambda one: _due_of(context, places, one), found)
        # What begins to sleep frees quota for what wakes up.
        rows: dict[str, dict] = {}
        for some in ([one for one in due if not one.resumes], [one for one in due if one.resumes]):
            rows |= {row["namespace"]: row for row in _perform(context, places, some, options)}
        done = [rows[one.namespace] for one in found]
        if not context.check_mode:
            _end_promises(context, done, promised, gone=options.wait)
        return done


def _perform(context: Context, places: FleetState, due: list[Due], options: VClusterOptions) -> list[dict]:
    """Execute what is due, with the promises for it, and return the rows."""
    wanted = _promised(context, places, due)
    rows = run_each(context.hub, due, lambda one: one.row, lambda one: _row(context, places, one, options))
    places.settle_each(context, wanted, rows)
    if not context.check_mode:
        for one, row in zip(due, rows, strict=True):
            if one.namespace in wanted and not row.get("error"):
                attempt(partial(places.refresh, one.found))
    return rows


def _promised(context: Context, places: FleetState, due: list[Due]) -> dict[str, Wanted]:
    """Write the promises for what is due. Refuse what the quota has no room for, one by one."""
    wanted = {one.namespace: change for one in due if (change := one.wanted)}
    problems = places.promise_each(wanted.values(), check_mode=context.check_mode)
    for one in due:
        if problem := problems.get(one.namespace):
            one.refuse(problem)
    return {name: one for name, one in wanted.items() if name not in problems}


def _end_promises(context: Context, rows: list[dict], promised: Mapping[str, Promise], *, gone: bool) -> None:
    for row in rows:
        promise = promised.get(row["namespace"])
        if row["action"] == "delete" and not row.get("error") and promise and promise.host == row["host"]:
            end = partial(promises.end, context.hub, row["tenant"], row["namespace"], promise, gone=gone)
            problem, _nothing = attempt(end)
            if problem:
                context.warn(problem)


def _known(found: VirtualCluster) -> dict:
    row = {"tenant": found.tenant, "name": found.name, "host": found.host.name}
    return {**row, "namespace": found.namespace, "action": "none", "reason": ""}


def _due_of(context: Context, places: FleetState, found: VirtualCluster) -> Due:
    """Return what is due. Any error becomes the one of its row."""
    due = Due(found, _known(found))
    returns = paused_frees_quota(places.records.get(found.tenant))
    problem, _nothing = attempt(lambda: _decide(context, due, returns=returns))
    if problem:
        due.row["error"] = problem
    return due


def _decide(context: Context, due: Due, *, returns: bool) -> None:
    found, now, row = due.found, clock(), due.row
    due.before = before = Notes.of(found)
    sets = lifecycle.stateful_sets(found)
    paused = bool(sets) and lifecycle.is_paused(sets[0])
    problem, sample = (None, None) if paused or not sets else attempt(lambda: _sample(found))
    notes = before if paused or not sets else before.seen(sample, now)
    if problem:  # without a sample it is not idle, but schedule and ttl apply nevertheless
        notes = replace(notes, since=None)
    started = None if paused or not sets else certificate_lifetime.oldest_start(found.host, found.namespace)
    decision = decide(found, notes, paused=paused, now=now, started=started)
    due.notes = replace(decision.notes, since=before.since) if problem else decision.notes
    row |= {"action": decision.action, "reason": decision.reason}
    due.plan = plan = _plan(found, decision.action, now, returns=returns)
    row["actions"] = plan.rows() if plan else []
    row["changed"] = bool(row["actions"])
    row["diff"] = [plan.diff()] if plan else []
    if isinstance(plan, LifecyclePlan) and plan.warning:
        context.warn(plan.warning)
    due.problem = problem or ""


def _row(context: Context, places: FleetState, due: Due, options: VClusterOptions) -> dict:
    """Execute what is due, and return the row."""
    if "error" in due.row:
        return due.row
    if not context.check_mode:
        places.quotas.renew(due.found.tenant, due.namespace)
        _execute(due, context.deadline(options.wait_timeout) if options.wait else None)
    return {**due.row, "error": due.problem} if due.problem else due.row


def _sample(found: VirtualCluster) -> list[int] | None:
    if not (found.record.sleep or {}).get("idle"):
        return None
    api = connection.inside(found.host, found.namespace).limited(found.host.timeout)
    try:
        return activity.sample(api.text("/metrics"))
    finally:
        api.close()


def _plan(found: VirtualCluster, action: str, now: datetime, *, returns: bool) -> Plan | LifecyclePlan | None:
    if action == "delete":
        return delete.plan(found.host, found.tenant, found.name)
    if action == "pause":
        return lifecycle.plan_pause(found, found.namespace, returns=returns)
    if action == "restart":
        return lifecycle.plan_restart(found, found.namespace, now)
    return lifecycle.plan_resume(found) if action == "resume" else None


def _execute(due: Due, deadline: Deadline | None) -> None:
    """Begin, write the notes, then do the rest and, with a deadline, wait.

    Without notes, a later run would not know whose pause it was. Notes of what did not happen would stop that run.
    """
    found, plan, name = due.found, due.plan, due.namespace
    if isinstance(plan, Plan):
        delete.execute(plan, found.host, name, deadline)
        return
    if plan:
        plan.begin()
    if due.notes != due.before:
        annotations = {NOTES_ANNOTATION: due.notes.as_text()}
        found.host.merge(NAMESPACE, name, None, {"metadata": {"annotations": annotations}})
    if plan:
        plan.perform(deadline)
