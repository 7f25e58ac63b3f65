"""What is due for a virtual cluster at a point in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import housekeeping, lifecycle
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.housekeeping import (
    NOTES_ANNOTATION,
    Notes,
    decide,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

from .._tenant.fleet import add_vcluster
from .example import render
from .fake_host import FakeHost

NIGHT = {"sleep": {"schedule": ["mon-fri 20:00-06:00"]}}
IDLE = {"sleep": {"idle": "2h"}}
RESOURCES = {"cpu": "2", "memory": "3Gi", "storage": "5Gi", "pods": "2"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=UTC)


def vcluster(created: str, **annotations: str | None) -> VirtualCluster:
    return VirtualCluster(
        SimpleNamespace(name="hub"), {"metadata": {"creationTimestamp": created, "annotations": annotations}}
    )


def due(
    record: dict,
    now: str,
    notes: Notes | None = None,
    paused: bool = False,
    created: str = "2026-11-20T09:00:00Z",
    started: datetime | None = None,
) -> tuple[str, str, Notes]:
    found = vcluster(created, **{SPEC_ANNOTATION: json.dumps(record)})
    decision = decide(found, notes or Notes(), paused=paused, now=at(now), started=started)
    return decision.action, decision.reason, decision.notes


def test_nothing_is_due_for_one_that_asks_for_nothing() -> None:
    assert due({}, "25 12:00")[0] == "none"


@pytest.mark.parametrize(("now", "action"), [("21 08:59", "none"), ("21 09:00", "delete")])
def test_expired(now: str, action: str) -> None:
    assert due({"ttl": "1d"}, now)[0] == action


def test_expired_but_protected_is_kept_and_said() -> None:
    action, reason, _notes = due({"ttl": "1d", "deletion_protection": True}, "25 12:00")
    assert action == "none"
    assert "kept by deletion_protection" in reason


@pytest.mark.parametrize(("days", "action"), [(59, "none"), (60, "restart")])
def test_certificates_are_renewed_a_month_before_they_may_end(days: int, action: str) -> None:
    started = at("25 12:00") - timedelta(days=days)
    assert due({"persistence": "20Gi"}, "25 12:00", started=started)[0] == action


def test_what_a_restart_would_empty_is_only_reported() -> None:
    action, reason, _notes = due({"persistence": "none"}, "25 12:00", started=at("25 12:00") - timedelta(days=80))
    assert action == "none"
    assert reason.startswith("its certificates are valid until 2026-12-05T12:00:00Z at least; it has no volume")


def test_what_goes_or_sleeps_is_not_restarted_before() -> None:
    old = at("25 12:00") - timedelta(days=80)
    assert due({"ttl": "1d"}, "25 12:00", started=old)[0] == "delete"
    assert due(NIGHT, "25 20:05", started=old)[0] == "pause"


def test_a_night() -> None:
    assert due(NIGHT, "25 19:59")[0] == "none"
    action, _reason, notes = due(NIGHT, "25 20:05")
    assert (action, notes.slept, notes.why) == ("pause", at("25 20:05"), "schedule")
    assert due(NIGHT, "25 23:00", notes, paused=True)[0] == "none"
    action, _reason, notes = due(NIGHT, "26 06:01", notes, paused=True)
    assert (action, notes.why) == ("resume", None)
    assert due(NIGHT, "26 12:00", notes)[0] == "none"
    assert due(NIGHT, "26 20:01", notes)[0] == "pause"


def test_one_that_somebody_resumed_at_night_runs_on_until_the_next() -> None:
    _action, _reason, notes = due(NIGHT, "25 20:05")
    action, _reason, notes = due(NIGHT, "25 22:00", notes)
    assert action == "none"
    assert due(NIGHT, "26 05:00", notes)[0] == "none"
    assert due(NIGHT, "26 20:05", notes)[0] == "pause"


def test_one_that_somebody_paused_is_not_resumed() -> None:
    assert due(NIGHT, "26 06:01", paused=True)[0] == "none"
    slept_and_resumed = Notes(slept=at("25 20:05"))
    assert due(NIGHT, "26 12:00", slept_and_resumed, paused=True)[0] == "none"


def test_one_that_was_made_at_night_is_left_alone() -> None:
    made = "2026-11-25T22:00:00Z"
    assert due(NIGHT, "25 23:00", created=made)[0] == "none"
    assert due(NIGHT, "26 20:00", created=made)[0] == "pause"


def test_idle_is_counted_from_the_last_change_of_the_sample() -> None:
    notes = Notes().seen([1, 5, 5], at("25 10:00"))
    assert due(IDLE, "25 10:00", notes)[0] == "none"
    notes = notes.seen([1, 5, 5], at("25 11:00"))
    assert due(IDLE, "25 11:59", notes)[0] == "none"
    assert due(IDLE, "25 12:00", notes)[:2] == ("pause", "not used since 2026-11-25T10:00:00Z")
    used = notes.seen([1, 6, 5], at("25 11:58"))
    assert due(IDLE, "25 12:00", used)[0] == "none"


def test_one_that_slept_for_being_idle_is_not_resumed_by_a_schedule() -> None:
    both = {"sleep": {"idle": "2h", **NIGHT["sleep"]}}
    notes = Notes().seen([1, 5, 5], at("25 10:00"))
    action, _reason, notes = due(both, "25 14:00", notes)
    assert (action, notes.why) == ("pause", "idle")
    assert due(both, "26 12:00", notes, paused=True)[0] == "none"


def test_notes_are_read_back() -> None:
    notes = Notes(at("25 20:05"), "schedule", (1, 2, 3), at("25 19:00"))
    assert Notes.of(vcluster("", **{NOTES_ANNOTATION: notes.as_text()})) == notes
    for broken in (None, "", "{", "[]", '{"slept": "yesterday"}', '{"sample": 5}'):
        assert Notes.of(vcluster("", **{NOTES_ANNOTATION: broken})) == Notes()


class FailingHost(FakeHost):
    """A host that rejects changes of one StatefulSet."""

    rejected = ""

    def merge(self, kind: str, name: str, namespace: str | None, body: dict, *, manager: str = "") -> dict:
        if name == self.rejected:
            raise ApiError("an admission webhook does not answer", 500)
        return super().merge(kind, name, namespace, body, manager=manager)


class Night:
    """A virtual cluster with a schedule on a host, and runs of the module."""

    def __init__(self, patch: pytest.MonkeyPatch, *, replicas: int, notes: Notes) -> None:
        self.patch, self.host = patch, FailingHost.hub()
        self.warnings: list[str] = []
        for obj in cluster.everything(render()):
            self.host.apply(obj)
        annotations = {SPEC_ANNOTATION: json.dumps({"servers": 1, "agents": 1, "resources": RESOURCES, **NIGHT})}
        annotations[NOTES_ANNOTATION] = notes.as_text()
        self.host.merge("v1/Namespace", "payments--dev", None, {"metadata": {"annotations": annotations}})
        for part in ("server", "agent"):
            self.host.merge("apps/v1/StatefulSet", part, "payments--dev", {"spec": {"replicas": replicas}})
        promises.begin(self.host, "payments")
        self.promise("dev", "2")

    @property
    def found(self) -> VirtualCluster:
        return VirtualCluster(self.host, self.host.get("v1/Namespace", "payments--dev"))  # type: ignore[arg-type]  # a fake

    @property
    def replicas(self) -> list[int]:
        sets = self.host.list("apps/v1/StatefulSet")
        return [one["spec"]["replicas"] for one in sets]

    def record(self) -> dict:
        found = self.host.get("v1/ConfigMap", RECORD, "tenant-payments")
        assert found
        return found

    def promised(self) -> dict[str, str]:
        found = promises.of(self.record())
        assert not [one for one in found.values() if one.pending]
        return {name.removeprefix("payments--"): one.counted["cpu"] for name, one in found.items()}

    def promise(self, name: str, cpu: str) -> None:
        """Let it have so much, and one that is not `dev` use nothing else."""
        resources = {**RESOURCES, "cpu": cpu}
        if name != "dev":
            add_vcluster(self.host, "payments", name, {"resources": resources}, {"limits.cpu": cpu})
        promise = promises.Promise.of("hub", resources)
        promises.update(self.host, self.record(), lambda before: {**before, f"payments--{name}": promise})

    def run(self, now: str, rejected: str = "", *, check: bool = False) -> dict[str, Any]:
        """Return the row of a run at that time, in which changes of the StatefulSet `rejected` fail."""
        self.host.rejected = rejected
        self.patch.setattr(housekeeping, "clock", lambda: at(now))
        context = SimpleNamespace(
            hub=self.host, cluster=None, check_mode=check, warn=self.warnings.append, deadline=Deadline
        )
        rows = housekeeping.run(context, [{"tenant": None}], VClusterOptions(False, 1))  # type: ignore[arg-type]  # as much of it as is used
        return next(row for row in rows if row["name"] == "dev")


@pytest.mark.parametrize("rejected", ["server", "agent"])
def test_pause_that_fails_is_repeated(monkeypatch: pytest.MonkeyPatch, rejected: str) -> None:
    night = Night(monkeypatch, replicas=1, notes=Notes())
    row = night.run("25 20:05", rejected)
    assert (row["action"], Notes.of(night.found)) == ("pause", Notes())
    assert "webhook" in row["error"]
    assert "error" not in night.run("25 20:20")
    assert night.replicas == [0, 0]
    assert Notes.of(night.found) == Notes(slept=at("25 20:20"), why="schedule")


@pytest.mark.parametrize("rejected", ["server", "agent"])
def test_resume_that_fails_is_repeated(monkeypatch: pytest.MonkeyPatch, rejected: str) -> None:
    slept = Notes(slept=at("25 20:05"), why="schedule")
    night = Night(monkeypatch, replicas=0, notes=slept)
    row = night.run("26 06:01", rejected)
    assert (row["action"], Notes.of(night.found)) == ("resume", slept)
    assert "webhook" in row["error"]
    assert "error" not in night.run("26 06:15")
    assert night.replicas == [1, 1]
    assert Notes.of(night.found) == Notes(slept=at("25 20:05"))


def test_one_that_sleeps_returns_its_resources_and_takes_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUO-7."""
    night = Night(monkeypatch, replicas=1, notes=Notes())
    assert night.promised() == {"dev": "2"}
    assert night.run("25 20:05", check=True)["actions"] == night.run("25 20:05")["actions"]
    assert night.promised() == {"dev": "250m"}
    night.promise("other", "63")
    for check in (True, False):
        row = night.run("26 06:01", check=check)
        assert (row["action"], row["changed"], row["actions"]) == ("resume", False, [])
        assert row["error"].startswith(
            "payments--dev is paused and has no room to resume: quota of tenant payments: cpu 2 asked for, but 1 left "
            "(63 of 64 used by other virtual clusters)"
        )
    assert (night.replicas, night.promised()) == ([0, 0], {"dev": "250m", "other": "63"})
    night.host.delete("v1/Namespace", "payments--other")
    row = night.run("26 06:11")
    assert (row["action"], row.get("error"), night.replicas) == ("resume", None, [1, 1])
    assert night.promised()["dev"] == "2"
    assert night.found.record.paused is None
    assert night.run("26 06:21")["action"] == "none"


def test_stopped_server_keeps_its_resources_as_it_may_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore, too, stops the server for a while, and needs them."""
    night = Night(monkeypatch, replicas=0, notes=Notes(slept=at("25 20:05"), why="schedule"))
    before = night.promised()
    assert night.run("25 20:15")["action"] == "none"
    assert (night.promised(), night.found.record.paused) == (before, None)


def test_what_woke_up_too_late_has_lost_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(monkeypatch, replicas=1, notes=Notes())
    night.run("25 20:05")
    perform, begun = housekeeping._row, promises.clock()

    def late(*given: Any) -> dict:
        monkeypatch.setattr(promises, "clock", lambda: begun + promises.LASTS)
        night.promise("dev", "250m")  # as another run corrects it
        return perform(*given)

    monkeypatch.setattr(housekeeping, "_row", late)
    row = night.run("26 06:01")
    assert "another run has taken what was promised to payments--dev" in row["error"]
    assert night.replicas == [0, 0]


def test_run_of_any_exception_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(monkeypatch, replicas=1, notes=Notes())

    def fails(*_of: Any) -> None:
        raise KeyError("spec")

    monkeypatch.setattr(lifecycle, "end_pods", fails)
    row = night.run("25 20:05")
    assert (row["action"], row["changed"], len(row["actions"])) == ("pause", True, 4)
    assert row["error"].startswith("tenantry.kube: unexpected KeyError")


@pytest.mark.parametrize(("promised", "left"), [("hub", False), ("edge", True)])
def test_deleted_one_ends_its_own_promise_only(monkeypatch: pytest.MonkeyPatch, promised: str, left: bool) -> None:
    """The administrator of a member can create a namespace of any name there, which expires."""
    hub = FakeHost.hub()
    add_vcluster(hub, "payments", "dev", {"ttl": "1h"}, None)
    promises.begin(hub, "payments")
    record = hub.get("v1/ConfigMap", RECORD, "tenant-payments")
    promises.update(hub, record, lambda _before: {"payments--dev": promises.Promise.of(promised, {})})
    context = SimpleNamespace(hub=hub, cluster=None, check_mode=False, warn=print, deadline=Deadline)
    monkeypatch.setattr(housekeeping, "clock", lambda: at("25 12:00"))
    (row,) = housekeeping.run(context, [{"tenant": None}], VClusterOptions(True, 1))
    assert (row["action"], row.get("error")) == ("delete", None)
    record = hub.get("v1/ConfigMap", RECORD, "tenant-payments")
    assert ("payments--dev" in promises.of(record)) == left
