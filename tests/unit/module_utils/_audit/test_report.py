"""A log that was rolled over is not taken for a quiet one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._audit import report
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log

NAME = "payments--dev"


@pytest.mark.parametrize(
    ("begins", "since", "late"),
    [
        ("2026-04-01T12:00:20Z", "", False),  # the virtual cluster is of 12:00:00
        ("2026-04-03T09:00:00Z", "", True),
        ("2026-04-03T09:00:00Z", "2026-04-04T00:00:00Z", False),
        ("2026-04-03T09:00:00Z", "2026-04-02T00:00:00Z", True),
        ("2026-04-01T12:00:20Z", "2026-03-01T00:00:00Z", False),
        (None, "", True),
    ],
)
def test_a_log_that_does_not_reach_back_is_no_quiet_one(begins: str | None, since: str, late: bool) -> None:
    log = report._Log("payments--dev", report._nobody)
    log.read([] if begins is None else [{"requestReceivedTimestamp": begins}])
    record = report._record("2026-04-01T12:00:00Z", "hub", "p", "vcluster", "payments/dev")
    found = report._late({NAME: log}, since, report._created([record]))
    assert bool(found) is late
    assert not late or "are lost" in found["payments--dev"]


def _event(number: int, resource: str) -> dict[str, Any]:
    reference = {"resource": resource, "namespace": "tenantry-system" if resource == "serviceaccounts" else "shop"}
    at = f"2026-04-01T12:00:{number:02}.000000Z"
    user = {"username": "bob"}
    return {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": str(number), "user": user, "verb": "create",
        "objectRef": reference, "requestReceivedTimestamp": at, "responseStatus": {"code": 201},
    }  # fmt: skip


def test_the_beginning_of_a_log_is_read_whatever_it_is_about(tmp_path: Path) -> None:
    logs = tmp_path / "server" / "logs"
    logs.mkdir(parents=True)
    for name, numbers in (("audit-2026-04-01T12-00-30.000.log", range(1, 4)), ("audit.log", range(4, 8))):
        events = [_event(number, "serviceaccounts" if number == 6 else "configmaps") for number in numbers]
        (logs / name).write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in events))
    script = report._READ_LOG.replace(report.DATA_DIRECTORY, str(tmp_path))
    read = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    found = list(audit_log.parsed(read.splitlines()))
    assert [one["auditID"] for one in found] == ["1", "4", "6"]
    log = report._Log(NAME, report._nobody)
    log.read(found)
    assert log.begins == "2026-04-01T12:00:01.000000Z"


def _line(number: int) -> bytes:
    return json.dumps(_event(number, "serviceaccounts")).encode() + b"\n"


def _read_inside(patch: pytest.MonkeyPatch, *servers: Iterable[bytes]) -> tuple[dict[str, report._Log], dict[str, str]]:
    """Return the logs and the errors of a virtual cluster whose servers write these pieces."""
    outputs = iter(servers)

    def run(_container: object, _doing: str, _script: str, sink: Callable[[bytes], object] | None = None) -> str:
        output = bytearray()
        for piece in next(outputs):
            (sink or output.extend)(piece)
        return output.decode()

    names = [{"metadata": {"name": f"server-{number}"}} for number in range(len(servers))]
    patch.setattr(report.connection, "server_pods", lambda *_of: names)
    patch.setattr(report.pod_exec, "run", run)
    logs: dict[str, report._Log] = {}
    context = SimpleNamespace(hub=SimpleNamespace(map=lambda do, items: [do(item) for item in items]))
    found = SimpleNamespace(host=None, namespace=NAME)
    return logs, report._read_inside(context, logs, [found])


def test_log_in_pieces_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _line(1) + _line(2)
    logs, problems = _read_inside(monkeypatch, [text[:7], text[7:-9], text[-9:]], [_line(3)])
    assert (logs[NAME].events, logs[NAME].begins, problems) == (3, "2026-04-01T12:00:01.000000Z", {})


def test_log_beyond_the_limit_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        for number in range(50):
            yield _line(number)
        pytest.fail("all of the log is read")

    monkeypatch.setattr(report, "LARGEST_LOG", 10 * len(_line(10)), raising=False)
    logs, problems = _read_inside(monkeypatch, endless())
    assert logs[NAME].events == 10
    assert "MiB of events about the platform, and the newest are missing" in problems[NAME]


def test_events_before_an_error_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[bytes]:
        yield from ()
        raise TenantryError("the connection ended")

    logs, problems = _read_inside(monkeypatch, [_line(1)], broken())
    assert (logs[NAME].events, problems) == (1, {NAME: "the connection ended"})
    assert _read_inside(monkeypatch, broken()) == ({}, {NAME: "the connection ended"})
