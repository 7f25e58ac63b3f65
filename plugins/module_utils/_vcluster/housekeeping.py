# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_housekeeping: delete, pause, resume or restart virtual clusters when due."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    explained,
    run_each,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises, records
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    activity,
    certificate_lifetime,
    connection,
    delete,
    lifecycle,
)
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
    found: VirtualCluster, notes: Notes, *, paused: bool, now: datetime, started: datetime | None = None
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


def run(context: Context, items: list[dict], options: VClusterOptions) -> list[dict]:
    """Do what is due for the virtual clusters of one tenant or of all, and return a row for each."""
    tenant = items[0]["tenant"]
    if tenant is not None:
        naming.check_name(tenant, "tenant")
    with registry.open_fleet(context) as fleet:
        known = records.read(fleet.hub, tenant).values()
        promised = {name: one for record in known for name, one in promises.of(record).items()}
        vclusters, unreachable = fleet.vclusters()
        for problem in unreachable.values():
            context.warn(problem)
        due = [one for one in vclusters if tenant in (None, one.tenant) and not one.is_deleting]
        due.sort(key=lambda one: (one.tenant, one.name))
        rows = run_each(context.hub, due, _known, lambda found: _row(context, found, options))
        if not context.check_mode:
            _end_promises(context, rows, promised, gone=options.wait)
        return rows


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


def _row(context: Context, found: VirtualCluster, options: VClusterOptions) -> dict:
    row = _known(found)
    try:
        now, before = clock(), Notes.of(found)
        sets = lifecycle.stateful_sets(found)
        paused = bool(sets) and lifecycle.is_paused(sets[0])
        problem, sample = (None, None) if paused or not sets else attempt(lambda: _sample(found))
        notes = before if paused or not sets else before.seen(sample, now)
        if problem:  # without a sample it is not idle, but schedule and ttl apply nevertheless
            row["error"] = problem
            notes = replace(notes, since=None)
        started = None if paused or not sets else certificate_lifetime.oldest_start(found.host, found.namespace)
        decision = decide(found, notes, paused=paused, now=now, started=started)
        if problem:
            decision = replace(decision, notes=replace(decision.notes, since=before.since))
        row |= {"action": decision.action, "reason": decision.reason}
        plan = _plan(found, decision.action, now)
        row["actions"] = plan.rows() if plan else []
        row["changed"] = bool(row["actions"])
        row["diff"] = [plan.diff()] if plan else []
        if isinstance(plan, LifecyclePlan) and plan.warning:
            context.warn(plan.warning)
        if not context.check_mode:
            deadline = context.deadline(options.wait_timeout) if options.wait else None
            _execute(found, plan, decision.notes, before, deadline)
    except Exception as error:  # pylint: disable=broad-except
        row["error"] = str(explained(error))
    return row


def _sample(found: VirtualCluster) -> list[int] | None:
    if not (found.record.sleep or {}).get("idle"):
        return None
    api = connection.inside(found.host, found.namespace).limited(found.host.timeout)
    try:
        return activity.sample(api.text("/metrics"))
    finally:
        api.close()


def _plan(found: VirtualCluster, action: str, now: datetime) -> Plan | LifecyclePlan | None:
    if action == "delete":
        return delete.plan(found.host, found.tenant, found.name)
    if action == "pause":
        return lifecycle.plan_pause(found, found.namespace)
    if action == "restart":
        return lifecycle.plan_restart(found, found.namespace, now)
    return lifecycle.plan_resume(found) if action == "resume" else None


def _execute(
    found: VirtualCluster, plan: Plan | LifecyclePlan | None, notes: Notes, before: Notes, deadline: Deadline | None
) -> None:
    """Begin, write the notes, then do the rest and, with a deadline, wait.

    Without notes, a later run would not know whose pause it was. Notes of what did not happen would stop that run.
    """
    name = found.namespace
    if isinstance(plan, Plan):
        delete.execute(plan, found.host, name, deadline)
        return
    if plan:
        plan.begin()
    if notes != before:
        annotations = {NOTES_ANNOTATION: notes.as_text()}
        found.host.merge(NAMESPACE, name, None, {"metadata": {"annotations": annotations}})
    if plan:
        plan.perform(deadline)
