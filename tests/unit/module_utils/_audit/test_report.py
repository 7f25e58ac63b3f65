"""A log that was rolled over is not taken for a quiet one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._audit import report
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
