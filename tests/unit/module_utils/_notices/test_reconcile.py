"""Runs of the module notices: each target gets each notice once, over reruns, other runs and interruptions."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    VIRTUAL_CLUSTER_REQUEST,
)
from ansible_collections.tenantry.kube.plugins.module_utils._notices import delivery, messages

from .._usage.fleet import NOW, vcluster
from .facts import DAYS
from .receivers import Mailbox, Webhook
from .runs import HOUR, Runs, abouts, states


def test_each_notice_is_sent_once(runs: Runs, hook: Webhook) -> None:
    target = {"url": f"{hook.url}/secret"}
    first = runs.run(target)
    assert (first["changed"], states(first), first["failed_targets"]) == (True, ["sent"], {})
    writes = len(runs.hub.writes)
    assert runs.run(target) == {"changed": False, "notices": [], "failed_targets": {}}
    assert len(runs.hub.writes) == writes  # a run with nothing to say only reads
    runs.vclusters.append(vcluster(name="prod", expires=NOW + DAYS))
    runs.run(target)
    assert abouts(hook) == [["payments/dev"], ["payments/prod"]]
    assert "secret" not in str(first)


def test_check_mode_says_what_would_be_sent(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url}
    found = runs.run(target, check=True)
    assert (found["changed"], states(found)) == (True, ["sent"])
    assert (hook.bodies, runs.ledgers()) == ([], [])
    runs.run(target)
    assert not runs.run(target, check=True)["changed"]


def test_failed_target_is_a_warning_and_tried_again(runs: Runs, hook: Webhook, other: Webhook) -> None:
    hook.status = 500
    both = {"url": f"{hook.url}/secret"}, {"name": "second", "url": other.url}
    found = runs.run(*both)
    assert (states(found), list(found["failed_targets"])) == (["failed", "sent"], ["operations"])
    (warning,) = runs.warnings
    assert warning == (
        "target operations: it answered 500 Internal Server Error. Look into its log. The next run tries again"
    )
    hook.status = 200
    assert states(runs.run(*both)) == ["sent"]
    assert (len(hook.bodies), len(other.bodies)) == (2, 1)


def test_uncertain_notice_is_not_sent_again(runs: Runs, hook: Webhook) -> None:
    hook.status = 0
    found = runs.run({"url": hook.url})
    assert (found["changed"], states(found)) == (True, ["uncertain"])
    assert "It is not sent again" in runs.warnings[0]
    hook.status = 200
    assert states(runs.run({"url": hook.url})) == []
    assert len(hook.bodies) == 1


def test_unforeseen_error_is_recorded_and_not_tried_again(
    runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of a library, while the message is sent."""

    def fails(*_given: Any) -> None:
        raise ValueError("secret")

    target = {"url": hook.url}
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "post", fails)
        found = runs.run(target)
    assert (states(found), found["changed"]) == (["uncertain"], True)
    assert runs.warnings == [
        "target operations: unexpected ValueError, so nobody knows whether it was delivered. Look for the message "
        "there. This is a fault of tenantry.kube, please report it. It is not sent again"
    ]
    assert (states(runs.run(target)), runs.warnings) == ([], [])


def test_message_that_cannot_be_made_is_tried_again(runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: Any) -> bytes:
        raise ValueError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(messages, "body_of", fails)
        assert states(runs.run({"url": hook.url})) == ["failed"]
    assert "the message cannot be made (ValueError)" in runs.warnings[0]
    assert states(runs.run({"url": hook.url})) == ["sent"]


def test_killed_run_sends_nothing_twice(runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed after the target got the message. Nobody knows, so there is a warning, once."""

    def killed(*_given: Any) -> None:
        raise KeyboardInterrupt

    target = {"url": hook.url}
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "post", killed)
        with pytest.raises(KeyboardInterrupt):
            runs.run(target)
    assert (states(runs.run(target)), runs.warnings) == ([], [])
    runs.time = NOW + timedelta(minutes=11)
    runs.run(target)
    assert runs.warnings == [
        "target operations: a run was killed while it sent notices (1), which are not sent again. Look for them there"
    ]
    runs.run(target)
    assert (runs.warnings, hook.bodies) == ([], [])


def test_run_beside_another_one_sends_nothing_twice(runs: Runs, hook: Webhook) -> None:
    """The other one runs while this one sends."""
    target, beside = {"url": hook.url}, []
    hook.on_request = lambda: beside.append(runs.run(target)["notices"])
    assert states(runs.run(target)) == ["sent"]
    assert (len(hook.bodies), beside) == (1, [[]])


def test_run_that_is_overtaken_claims_nothing_twice(runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one runs between the read and the write of the record, when it exists and when it does not yet."""
    target, get = {"url": hook.url}, runs.hub.get
    for name in ("dev", "prod"):
        runs.vclusters = [vcluster(name=name, expires=NOW + DAYS)]
        pending = [True]

        def overtaken(pending: list[bool], kind: str, *where: Any) -> Any:
            found = get(kind, *where)
            if where[0] == "notices-operations" and pending:
                pending.clear()
                assert states(runs.run(target)) == ["sent"]
            return found

        monkeypatch.setattr(runs.hub, "get", partial(overtaken, pending))
        assert runs.run(target)["notices"] == []
    assert abouts(hook) == [["payments/dev"], ["payments/prod"]]


def test_claim_whose_answer_was_lost_is_sent(runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is repeated, and the second one finds the claim of this run."""
    create, lost = runs.hub.create, [True]

    def losing(obj: dict, **how: Any) -> dict:
        made = create(obj, **how)
        if lost:
            lost.clear()
            raise ApiError("it exists", 409)
        return made

    monkeypatch.setattr(runs.hub, "create", losing)
    assert states(runs.run({"url": hook.url})) == ["sent"]
    assert len(hook.bodies) == 1


def test_hub_that_does_not_keep_the_claim_prevents_the_message(
    runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: Any, **_how: Any) -> None:
        raise ApiError("creating ConfigMap: 403 no right", 403)

    monkeypatch.setattr(runs.hub, "create", refused)
    found = runs.run({"url": hook.url})
    assert (hook.bodies, found["failed_targets"]) == ([], {"operations": "creating ConfigMap: 403 no right"})


def test_hub_that_does_not_keep_the_outcome_prevents_a_second_message(
    runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: Any, **_how: Any) -> None:
        raise ApiError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(runs.hub, "merge", refused)
        assert states(runs.run({"url": hook.url})) == ["sent"]
    assert runs.warnings == ["target operations: no answer"]
    assert runs.run({"url": hook.url})["notices"] == []
    assert len(hook.bodies) == 1


def test_damaged_record_is_named_and_sends_nothing(runs: Runs, hook: Webhook) -> None:
    runs.run({"url": hook.url})
    (record,) = runs.ledgers()
    runs.hub.apply({**record, "data": {"ledger": "nonsense"}})
    assert runs.run({"url": hook.url})["notices"] == []
    assert "(ConfigMap notices-operations of tenantry-system on the hub). Delete it to send" in runs.warnings[0]
    assert len(hook.bodies) == 1


def test_many_notices_are_several_messages(runs: Runs, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(messages.MOST, "webhook", 2)
    names = [f"dev-{number}" for number in range(5)]
    runs.vclusters = [vcluster(name=name, expires=NOW + DAYS) for name in names]
    assert states(runs.run({"url": hook.url, "digest": "08:00"})) == ["sent"] * 5
    assert [len(one) for one in abouts(hook)] == [2, 2, 1]
    runs.vclusters = [vcluster(name=f"{name}-b", expires=NOW + DAYS) for name in names]
    hook.status = 500
    found = runs.run({"url": hook.url})
    assert states(found) == ["failed", "failed"]  # and no further message to a target that fails
    hook.status = 200
    assert states(runs.run({"url": hook.url})) == ["sent"] * 5


def test_matter_that_ends_and_returns_is_sent_again(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "kinds": ["member"]}
    for minutes, missing in ((0, True), (5, False), (10, True), (15, False), (80, False), (85, True)):
        runs.time, runs.missing = NOW + timedelta(minutes=minutes), {"edge": "down"} if missing else {}
        runs.run(target)
    assert abouts(hook) == [["edge"], ["edge"]]


def test_silent_member_does_not_end_what_is_on_it(runs: Runs, hook: Webhook) -> None:
    target = {"url": hook.url, "kinds": ["ttl"]}
    runs.run(target)
    there, runs.vclusters, runs.missing = runs.vclusters, [], {"edge": "down"}
    for hours in (1, 5):
        runs.time = NOW + hours * HOUR
        runs.run(target)
    runs.vclusters, runs.missing = there, {}
    assert runs.run(target)["notices"] == []
    assert len(hook.bodies) == 1


def test_tenant_gets_nothing_of_others(runs: Runs, hook: Webhook, other: Webhook) -> None:
    runs.vclusters.append(vcluster("research", "lab", expires=NOW + DAYS))
    runs.missing = {"edge": "no answer from 192.0.2.1"}
    runs.run({"url": hook.url}, {"name": "research", "tenant": "research", "url": other.url})
    assert abouts(other) == [["research/lab"]]
    assert sorted(abouts(hook)[0]) == ["edge", "payments/dev", "research/lab"]


def test_tenant_that_does_not_exist_is_a_warning(runs: Runs, hook: Webhook) -> None:
    runs.run({"url": hook.url, "tenant": "payment"})
    assert runs.warnings == [
        "targets.operations.tenant: there is no tenant payment (did you mean payments?), so it gets nothing"
    ]


def request(namespace: str) -> dict[str, Any]:
    meta = {"name": "big", "namespace": namespace, "uid": "u1"}
    api, _slash, kind = VIRTUAL_CLUSTER_REQUEST.rpartition("/")
    return {"apiVersion": api, "kind": kind, "metadata": meta, "status": {"phase": "Denied", "message": "too much"}}


def test_denied_requests_are_read_from_the_hub(runs: Runs, hook: Webhook) -> None:
    runs.hub.apply(request("tenant-payments"))
    runs.run({"url": hook.url, "kinds": ["request"]})
    assert hook.bodies[0]["notices"][0]["text"] == "was requested as a virtual cluster and denied: too much"


def test_users_that_cannot_be_read_are_a_warning(runs: Runs, hook: Webhook) -> None:
    def fails(*_given: Any, **_more: Any) -> dict[str, Any]:
        raise Obstacle("dev does not answer")

    runs.users = fails
    assert states(runs.run({"url": hook.url})) == ["sent"]
    assert runs.warnings == ["notices of kind credential are incomplete: dev does not answer"]
    runs.run({"url": hook.url, "kinds": ["ttl"]})  # which needs no users
    assert runs.warnings == []


def test_mail_is_sent_once(runs: Runs, mailbox: Mailbox, ca_path: str) -> None:
    target = {"type": "mail", "to": ["ops@example.com", "gone@example.com"]}
    server = {"port": mailbox.port, "username": "tenantry", "password": "secret-password", "ca_path": ca_path}
    mailbox.refused = ("gone@example.com",)
    found = runs.run(target, smtp=server)
    assert states(found) == ["sent"]
    assert runs.warnings == [
        "target operations: the mail server refused gone@example.com. Correct targets.operations.to"
    ]
    assert runs.run(target, smtp=server)["notices"] == []
    assert len(mailbox.envelopes) == 1
    assert "secret" not in str(found)


def test_times_are_those_of_the_sample(runs: Runs, hook: Webhook) -> None:
    runs.run({"url": hook.url})
    assert datetime.fromisoformat(hook.bodies[0]["time"]) == NOW
