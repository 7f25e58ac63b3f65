# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was done, as CSV for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

COLUMNS = (
    "time", "cluster", "tenant", "actor", "acted_as", "requested_by", "action", "kind", "name", "kubeconfig", "expires",
    "credential_id", "tool", "platform", "source", "count",
)  # fmt: skip


def audit_csv(events: Iterable[Mapping[str, Any]]) -> str:
    """Return audit events as CSV with a header. Values that a spreadsheet would run as formulas are escaped."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_harmless(event.get(column)) for column in COLUMNS] for event in events)
    return output.getvalue()


def _harmless(value: object) -> str:
    """What a client says of itself must not become a formula of who opens the file."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"audit_csv": audit_csv}
