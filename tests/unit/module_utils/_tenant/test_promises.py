"""Promises on a tenant's record: what is written, what is read, and what two runs at once do."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise

from .._vcluster.fake_host import FakeHost

PART = {"cpu": "2", "memory": "1Gi", "storage": "5Gi", "pods": "4"}
MORE = {**PART, "cpu": "3"}
SPACE = "tenant-payments"


@pytest.fixture
def hub() -> FakeHost:
    hub = FakeHost.hub()
    promises.begin(hub, "payments")
    return hub


def record(hub: FakeHost) -> dict:
    found = hub.get(CONFIG_MAP, RECORD, SPACE)
    assert found
    return found


def write(hub: FakeHost, **annotations: str) -> None:
    hub.merge(CONFIG_MAP, RECORD, SPACE, {"metadata": {"annotations": annotations}})


def adding(name: str, promise: Promise) -> promises.Callable:
    return lambda before: {**before, name: promise}


def test_promises_written_are_read_again(hub: FakeHost) -> None:
    wanted = {
        "payments--dev": Promise.of("hub", PART, run="other"),
        "payments--web": Promise.of("edge", PART, in_use=MORE),
    }
    promises.update(hub, record(hub), lambda _before: wanted)
    assert promises.of(record(hub)) == wanted
    assert wanted["payments--web"].counted == MORE
    assert Promise.of("edge", MORE, in_use=PART).in_use == {}, "use within the resources is not worth a note"


def test_update_without_change_writes_nothing(hub: FakeHost) -> None:
    writes = len(hub.writes)
    promises.update(hub, record(hub), lambda before: before)
    assert len(hub.writes) == writes


def test_update_after_a_concurrent_one_checks_again(hub: FakeHost) -> None:
    before, checked = record(hub), []
    other = Promise.of("hub", PART, run="other")
    promises.update(hub, before, adding("payments--other", other))
    mine = Promise.of("edge", PART, run="other")
    promises.update(hub, before, adding("payments--mine", mine), lambda new: checked.append(promises.of(new)))
    assert checked == [{"payments--other": other}]
    assert promises.of(record(hub)) == {"payments--other": other, "payments--mine": mine}


def test_update_other_than_a_conflict_is_raised(hub: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object, **_options: object) -> dict:
        raise ApiError("forbidden", 403)

    monkeypatch.setattr(hub, "merge", refused)
    with pytest.raises(ApiError, match="forbidden"):
        promises.update(hub, record(hub), adding("payments--dev", Promise.of("hub", PART)))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"payments--dev": 1}', '{"payments--dev": {"host": "hub"}}',
     '{"payments--dev": {"host": "hub", "resources": {"cpu": "much"}, "at": "2026-11-20T09:00:00+00:00"}}',
     '{"payments--dev": {"host": "hub", "resources": {}, "at": "yesterday"}}'],
)  # fmt: skip
def test_unreadable_promises_are_none_and_are_not_lost_further(hub: FakeHost, text: str) -> None:
    write(hub, **{promises.ANNOTATION: text})
    assert not promises.are_kept(record(hub))
    assert promises.of(record(hub)) == {}
    assert "cannot be read" in promises.problem(record(hub))
    with pytest.raises(Obstacle, match="removed during this run"):
        promises.update(hub, record(hub), adding("payments--dev", Promise.of("hub", PART)))
    promises.update(hub, record(hub), lambda before: before, rebuild=True)
    assert promises.are_kept(record(hub))


def test_a_new_record_without_promises_is_no_problem() -> None:
    hub = FakeHost.hub()
    assert not promises.are_kept(record(hub))
    assert promises.problem(record(hub)) == ""


def test_a_promise_is_held_for_some_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    pending, settled = Promise.of("hub", PART, run="other"), Promise.of("hub", PART)
    assert (pending.held, settled.held) == (True, False)
    then = promises.clock() + promises.LASTS
    monkeypatch.setattr(promises, "clock", lambda: then)
    assert not pending.held


def test_reservations_of_an_earlier_release_count_and_are_replaced(hub: FakeHost) -> None:
    now = promises.clock()
    notes = {"dev": now, "old": now - promises.LASTS - timedelta(seconds=1)}
    for name, at in notes.items():
        note = json.dumps({"at": at.isoformat(), "resources": PART})
        write(hub, **{f"{promises.RESERVED}payments--{name}": note})
    assert {name: (one.host, one.held) for name, one in promises.of(record(hub)).items()} == {
        "payments--dev": ("", True)
    }
    promises.update(hub, record(hub), adding("payments--web", Promise.of("hub", PART)))
    assert list(record(hub)["metadata"]["annotations"]) == [promises.ANNOTATION]
    assert sorted(promises.of(record(hub))) == ["payments--dev", "payments--web"]


def test_begin_keeps_what_a_concurrent_run_has_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, other = FakeHost.hub(), Promise.of("hub", PART, run="other")
    merge = hub.merge

    def later(*given: Any, **options: Any) -> dict:
        monkeypatch.setattr(hub, "merge", merge)
        promises.update(hub, record(hub), adding("payments--other", other), rebuild=True)
        return merge(*given, **options)

    monkeypatch.setattr(hub, "merge", later)
    promises.begin(hub, "payments")
    assert promises.of(record(hub)) == {"payments--other": other}
    promises.begin(hub, "payments")
    assert promises.of(record(hub)) == {"payments--other": other}


def test_end_removes_a_promise_or_notes_the_deletion(hub: FakeHost) -> None:
    wanted = {name: Promise.of("hub", PART) for name in ("payments--a", "payments--b")}
    wanted["payments--held"] = Promise.of("hub", PART, run="other")
    promises.update(hub, record(hub), lambda _before: wanted)
    for name, promise in wanted.items():
        promises.end(hub, "payments", name, promise, gone=name != "payments--b")
    found = promises.of(record(hub))
    assert {name: one.deleting for name, one in found.items()} == {"payments--b": True, "payments--held": False}
    promises.end(hub, "nobody", "nobody--a", wanted["payments--a"], gone=True)


def test_end_leaves_what_has_changed_since(hub: FakeHost) -> None:
    before, other = Promise.of("hub", PART), Promise.of("hub", MORE)
    promises.update(hub, record(hub), adding("payments--dev", other))
    for gone in (False, True):
        promises.end(hub, "payments", "payments--dev", before, gone=gone)
        assert promises.of(record(hub)) == {"payments--dev": other}


def test_away_are_those_on_hosts_that_do_not_answer(hub: FakeHost) -> None:
    wanted = {name: Promise.of(host, PART) for name, host in {"a": "hub", "b": "edge", "c": "edge"}.items()}
    promises.update(hub, record(hub), lambda _before: wanted)
    assert list(promises.away(record(hub), {"edge": "down"}, {"c"})) == ["b"]
    assert promises.as_limits(wanted["b"])["cpu"] == {"used": None, "hard": "2"}


def test_concerned_are_silent_hosts_with_promises(hub: FakeHost) -> None:
    silent = {"edge": "edge does not answer", "far": "far does not answer"}
    assert promises.concerned(record(hub), silent) == {}, "it has no virtual clusters"
    promises.update(hub, record(hub), adding("payments--dev", Promise.of("edge", PART)))
    assert promises.concerned(record(hub), silent) == {"edge": "edge does not answer"}
    write(hub, **{promises.ANNOTATION: "?"})
    assert promises.concerned(record(hub), silent) == silent, "nothing is known"
    assert promises.concerned(None, silent) == silent
