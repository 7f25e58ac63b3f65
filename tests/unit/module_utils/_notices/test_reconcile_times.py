"""Runs of the module notices in quiet hours, and before and after a digest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._notices import messages

from .._usage.fleet import NOW, vcluster
from .facts import DAYS, usage
from .receivers import Webhook
from .runs import HOUR, Runs, abouts, states


def test_quiet_hours_hold_what_is_still_due_afterwards(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "quiet_hours": ["mon 09:00-10:00"]}
    runs.tenants = [usage(cpu="9")]
    assert states(runs.run(target)) == ["held", "held"]
    assert states(runs.run(target, check=True)) == ["held", "held"]
    assert hook.bodies == []
    runs.time, runs.tenants = NOW + HOUR, [usage(cpu="2")]
    assert states(runs.run(target)) == ["sent"]
    assert abouts(hook) == [["payments/dev"]]


def test_what_may_be_sent_depends_on_the_time_after_gathering(runs: Runs, hook: Webhook) -> None:
    """Members that do not answer may take longer than a claim lasts."""
    runs.gathering = timedelta(minutes=30)
    target, warnings = {"url": hook.url}, []

    def beside() -> None:
        runs.time, runs.gathering = NOW + timedelta(minutes=30), timedelta(0)
        runs.run(target)
        warnings.extend(runs.warnings)

    hook.on_request = beside
    assert states(runs.run(target)) == ["sent"]
    assert warnings == []
    runs.time, runs.gathering = NOW, timedelta(minutes=30)
    quiet = {"name": "quiet", "url": hook.url, "quiet_hours": ["mon 09:30-10:00"]}
    assert states(runs.run(quiet)) == ["held"]


def test_digest_of_a_clock_that_was_ahead_silences_no_target(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "digest": "08:00"}
    runs.time = NOW + 365 * DAYS
    runs.run(target)
    runs.time, runs.vclusters = NOW, [vcluster(name="prod", expires=NOW + DAYS)]
    assert states(runs.run(target)) == ["sent"]


def test_digest_is_one_message_a_day(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "digest": "08:00"}
    assert states(runs.run(target)) == ["sent"]  # the first one, which shows that the target works
    runs.vclusters += [vcluster(name=name, expires=NOW + DAYS) for name in ("prod", "test")]
    assert states(runs.run(target)) == ["held", "held"]
    runs.time = NOW + timedelta(hours=22)  # 07:02 of the next day
    assert states(runs.run(target)) == ["held", "held"]
    runs.time = NOW + DAYS
    assert states(runs.run(target)) == ["sent", "sent"]
    assert abouts(hook) == [["payments/dev"], ["payments/prod", "payments/test"]]
    runs.time = NOW + 2 * DAYS  # a digest with nothing in it is over too
    assert runs.run(target)["notices"] == []
    runs.vclusters = [vcluster(name="late", expires=NOW + DAYS)]
    assert states(runs.run(target)) == ["held"]


def test_failed_digest_is_tried_again(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "digest": "08:00"}
    hook.status = 503
    assert states(runs.run(target)) == ["failed"]
    hook.status = 200
    assert states(runs.run(target)) == ["sent"]


def test_digest_that_fails_in_its_second_message_is_tried_again(
    runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(messages.MOST, "webhook", 1)
    runs.vclusters.append(vcluster(name="prod", expires=NOW + DAYS))
    target = {"url": hook.url, "digest": "08:00"}

    def second_fails() -> None:
        hook.status = 503 if len(hook.bodies) == 2 else 200

    hook.on_request = second_fails
    assert states(runs.run(target)) == ["sent", "failed"]
    assert states(runs.run(target)) == ["sent"]
    assert abouts(hook) == [["payments/dev"], ["payments/prod"], ["payments/prod"]]
    runs.vclusters.append(vcluster(name="late", expires=NOW + DAYS))
    assert states(runs.run(target)) == ["held"]
