# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Format audit events as a text table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.plugin_utils._tables import aligned

COLUMNS = ("TIME", "ACTOR", "ACTION", "KIND", "NAME", "CLUSTER", "VIA")


def audit_table(events: Iterable[Mapping[str, Any]]) -> str:
    """Return audit events as a table, one line each."""
    rows = [COLUMNS, *(_row(event) for event in events)]
    return aligned(rows) if len(rows) > 1 else "nothing"


def _row(event: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        event["time"],
        _who(event),
        event["action"] if event["count"] == 1 else f"{event['action']} ({event['count']} times)",
        event["kind"],
        event["name"] + _credential(event),
        event["cluster"],
        event["tool"] or event["source"],
    )


def _who(event: Mapping[str, Any]) -> str:
    who = event["requested_by"] or event["actor"] or "not known"
    return f"{who} as {event['acted_as']}" if event.get("acted_as") else who


def _credential(event: Mapping[str, Any]) -> str:
    if not event.get("kubeconfig"):
        return ""
    return f" (kubeconfig {event['kubeconfig']}, until {event.get('expires') or '?'})"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"audit_table": audit_table}
