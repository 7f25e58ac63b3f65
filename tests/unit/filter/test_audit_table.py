from __future__ import annotations

import csv
import io
from typing import Any

from ansible_collections.tenantry.kube.plugins.filter import audit_csv, audit_table

table = audit_table.FilterModule().filters()["audit_table"]
as_csv = audit_csv.FilterModule().filters()["audit_csv"]


def _event(**more: Any) -> dict[str, Any]:
    event = dict.fromkeys(audit_csv.COLUMNS) | {"time": "2026-04-01T12:00:00Z", "cluster": "hub", "count": 1}
    return {
        **event,
        "actor": "system:admin",
        "action": "deleted",
        "kind": "vcluster",
        "name": "a/b",
        "source": "log",
        **more,
    }


def test_a_line_for_each_event() -> None:
    header, line = table([_event(requested_by="alice", count=3)]).splitlines()
    assert "alice" in line
    assert "deleted (3 times)" in line
    assert line.index("hub") == header.index("CLUSTER")
    assert table([]) == "nothing"
    assert "system:admin as system:node:x" in table([_event(acted_as="system:node:x")])


def test_csv_has_no_formulas() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([_event(tool='=cmd|"x"'), _event(name='a,"b"')]))))
    assert [row["tool"] for row in rows] == ['\'=cmd|"x"', ""]
    assert rows[1]["name"] == 'a,"b"'
