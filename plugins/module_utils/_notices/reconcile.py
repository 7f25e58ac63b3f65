# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module notices: gather facts, decide what is due, and send each target what it did not get before."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    TENANT_USER_REQUEST,
    VIRTUAL_CLUSTER_REQUEST,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt, run_concurrently
from ansible_collections.tenantry.kube.plugins.module_utils._notices import delivery, due, messages
from ansible_collections.tenantry.kube.plugins.module_utils._notices.delivery import MaybeDelivered, NotDelivered
from ansible_collections.tenantry.kube.plugins.module_utils._notices.due import OF_MEMBERS, Facts
from ansible_collections.tenantry.kube.plugins.module_utils._notices.ledger import Ledger
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import CREDENTIAL, REQUEST, Notice
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import (
    MAIL,
    MailServer,
    NoticeOptions,
    Target,
    wanted_kinds,
)
from ansible_collections.tenantry.kube.plugins.module_utils._notices.record import Record
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage import gather
from ansible_collections.tenantry.kube.plugins.module_utils._users import info as users_info

# The states of a notice for a target.
SENT, HELD, FAILED, UNCERTAIN = "sent", "held", "failed", "uncertain"


@dataclass
class Outcome:
    """What became of the notices for one target."""

    target: Target
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def add(self, notices: Sequence[Notice], state: str) -> None:
        """Add a row for each notice."""
        self.rows += [
            {
                "target": self.target.name,
                "state": state,
                "kind": one.kind,
                "level": one.level,
                "tenant": one.tenant,
                "about": one.about,
                "text": one.text,
                "remedy": one.remedy,
            }
            for one in notices
        ]


def run(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Send what is due, and return a row for each notice and target. In check mode, say what would be sent."""
    options = NoticeOptions.of(params)
    facts = _gather(context, options)
    found = due.notices(facts, options.thresholds)
    _warn_of_unknown_tenants(context, options, facts)
    outcomes = run_concurrently(partial(_serve, context, options.mail, facts, found), options.targets)
    for one in outcomes:
        if one.problem:
            context.warn(f"target {one.target.name}: {one.problem}")
    rows = [row for one in outcomes for row in one.rows]
    return {
        "changed": any(row["state"] in (SENT, UNCERTAIN) for row in rows),
        "notices": rows,
        "failed_targets": {one.target.name: one.problem for one in outcomes if one.problem},
    }


def _gather(context: Context, options: NoticeOptions) -> Facts:
    """Gather the facts, at the same time, because each may wait for members that do not answer."""
    hub, wanted = context.hub, wanted_kinds(options.targets)
    unknown: set[str] = set()

    def rows(kind: str, read: Callable[[], list[dict]]) -> list[dict]:
        if kind not in wanted:
            return []
        problem, found = attempt(read)
        if problem:
            context.warn(f"notices of kind {kind} are incomplete: {problem}")
            unknown.add(kind)
        return found or []

    def users() -> list[dict]:
        found = users_info.run(context, None, None, [], findings=False)
        if found["unreachable_members"] or found["unreachable_vclusters"]:
            unknown.add(CREDENTIAL)
        return found["users"]

    def requests() -> list[dict]:
        return [one for kind in (VIRTUAL_CLUSTER_REQUEST, TENANT_USER_REQUEST) for one in hub.list(kind)]

    parts: list[Callable[[], Any]] = [
        lambda: gather.take(context, clock()),
        lambda: usage.run(context, None)["tenants"],
        lambda: rows(CREDENTIAL, users),
        lambda: rows(REQUEST, requests),
    ]
    sample, tenants, found_users, found_requests = run_concurrently(lambda read: read(), parts)
    if sample.missing:
        unknown |= OF_MEMBERS
    return Facts(sample, tenants, found_users, found_requests, frozenset(unknown))


def _warn_of_unknown_tenants(context: Context, options: NoticeOptions, facts: Facts) -> None:
    known = [one["name"] for one in facts.tenants]
    for one in options.targets:
        if one.tenant is not None and one.tenant not in known:
            hint = naming.did_you_mean(one.tenant, known)
            context.warn(f"targets.{one.name}.tenant: there is no tenant {one.tenant}{hint}, so it gets nothing")


def _serve(context: Context, mail: MailServer | None, facts: Facts, found: Sequence[Notice], target: Target) -> Outcome:
    """Send one target what is due. Whatever fails is a problem of this target only."""
    outcome = Outcome(target)
    service = _Service(context, mail, facts, [one for one in found if target.wants(one)], outcome)
    problem, _nothing = attempt(service.check if context.check_mode else service.send)
    outcome.problem = outcome.problem or problem or ""
    return outcome


class _Service:
    """The notices of one run for one target."""

    def __init__(
        self, context: Context, mail: MailServer | None, facts: Facts, notices: list[Notice], outcome: Outcome
    ) -> None:
        self._target, self._outcome = outcome.target, outcome
        self._mail, self._facts, self._notices = mail, facts, notices
        self._now: datetime = facts.sample.time  # of messages
        self._digest = ""  # that of the ledger before this run
        self._record = Record(context.hub, outcome.target.name)

    def check(self) -> None:
        """Say what would be sent."""
        ledger = self._record.read()
        self._outcome.add(ledger.fresh(self._notices), SENT if self._is_open(ledger) else HELD)

    def send(self) -> None:
        """Send all that is due, in as many messages as that takes. Stop at the first one that fails."""
        run, batch = self._claim(further=False)
        while batch:
            try:
                refused = self._delivered(run, batch)
            except MaybeDelivered as error:
                self._outcome.add(batch, UNCERTAIN)
                self._outcome.problem = f"{error}. It is not sent again"
                self._record.change(partial(Ledger.delivered, run=run))
                return
            except TenantryError as error:
                self._outcome.add(batch, FAILED)
                self._outcome.problem = f"{error}. The next run tries again"
                self._record.change(partial(Ledger.released, run=run))
                return
            self._outcome.add(batch, SENT)
            self._record.change(partial(Ledger.delivered, run=run))
            if refused:
                self._outcome.problem = (
                    f"the mail server refused {', '.join(refused)}. Correct targets.{self._target.name}.to"
                )
            run, batch = self._claim(further=True)

    def _claim(self, *, further: bool) -> tuple[str, list[Notice]]:
        """Claim the notices of the next message, and return them: none, or none may be sent now, is an empty list."""
        run = uuid.uuid4().hex
        batch: list[Notice] = []
        held: list[Notice] = []
        present = frozenset(key for one in self._notices for key in one.keys)

        def update(ledger: Ledger) -> Ledger:
            batch.clear()
            held.clear()
            if run in ledger.claims:  # it was written, and the answer was lost
                batch.extend(one for one in self._notices if one.keys[0] in ledger.claims[run].keys)
                return ledger
            now = clock()  # gathering may have taken minutes
            if not further:
                self._digest = ledger.digest
            ledger, lost = ledger.interrupted(now)
            if lost:
                self._outcome.problem = (
                    f"a run was killed while it sent notices ({lost}), which are not sent again. Look for them there"
                )
            ledger = ledger.settled(present, self._facts.unknown, now)
            fresh = ledger.fresh(self._notices)
            if not further and not self._is_open(ledger):
                held.extend(fresh)
                return ledger
            batch.extend(fresh[: messages.MOST[self._target.type]])
            return ledger.claimed(run, batch, now, self._target.day_of_digest(now), self._digest)

        self._record.change(update)
        self._outcome.add(held, HELD)
        return run, batch

    def _is_open(self, ledger: Ledger) -> bool:
        """Return whether messages may be sent now: there is no quiet time, and a digest is due."""
        now = clock()
        day = self._target.day_of_digest(now)
        return not self._target.is_quiet(now) and (not day or ledger.is_due(day))

    def _delivered(self, run: str, batch: Sequence[Notice]) -> tuple[str, ...]:
        """Send one message. Return the recipients that were refused while others were accepted.

        Raise a MaybeDelivered or another TenantryError, so that the claim is recorded or released in any case.
        """
        try:
            deliver = self._message(run, batch)
        except Exception as error:  # pylint: disable=broad-except
            raise NotDelivered(f"the message cannot be made ({type(error).__name__}). Please report it") from None
        try:
            return delivery.within(delivery.LONGEST, deliver) or ()
        except TenantryError:
            raise
        except Exception as error:  # pylint: disable=broad-except  # its text may have a secret
            text = f"unexpected {type(error).__name__}, so nobody knows whether it was delivered"
            hint = "Look for the message there. This is a fault of tenantry.kube, please report it"
            raise MaybeDelivered(f"{text}. {hint}") from None

    def _message(self, run: str, batch: Sequence[Notice]) -> Callable[[], tuple[str, ...] | None]:
        """Return what sends the message."""
        if self._target.type == MAIL and self._mail:
            mail = messages.mail_of(self._target, self._mail.sender, batch, self._now, run)
            return partial(delivery.send, self._mail, mail, self._target.to)
        return partial(delivery.post, self._target, messages.body_of(self._target, batch, self._now))
