"""What is read from an API server's audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log


def _event(moment: str, *credentials: str) -> dict:
    extra = {audit_log.CREDENTIAL_ID: list(credentials)} if credentials else {}
    user = {"username": "bob", "extra": extra}
    return {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "user": user, "requestReceivedTimestamp": moment}


def test_the_last_use_counts() -> None:
    events = [
        _event("2026-04-01T12:00:03.123456Z", "JTI=a"),
        _event("2026-04-01T12:00:01.000000Z", "JTI=a"),
        _event("2026-04-01T12:00:02.000000Z", "JTI=b"),
        _event("2026-04-01T12:00:09.000000Z"),
    ]
    assert audit_log.last_uses(events) == {"JTI=a": "2026-04-01T12:00:03Z", "JTI=b": "2026-04-01T12:00:02Z"}


def test_other_lines_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    whole = json.dumps(_event("2026-04-01T12:00:00Z", "JTI=a"))
    log.write_text(f"I1125 something else\n{whole}\n{whole[:-20]}")
    assert len(list(audit_log.events(str(log), "audit_logs"))) == 1


def test_a_file_without_events_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "x"
    log.write_text("hello\n")
    with pytest.raises(TenantryError, match="has no audit events"):
        list(audit_log.events(str(log), "audit_logs"))
