# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Format virtual clusters as a text table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.plugin_utils._tables import aligned

COLUMNS = ("VIRTUAL CLUSTER", "HOST", "VERSION", "NODES", "STATUS", "ENDPOINT", "RESOURCES USED")


def vcluster_table(vclusters: Iterable[Mapping[str, Any]]) -> str:
    """Return virtual clusters as a table, one line each."""
    rows = [COLUMNS, *(_row(vcluster) for vcluster in vclusters)]
    return aligned(rows) if len(rows) > 1 else "no virtual clusters"


def _row(vcluster: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{vcluster['tenant']}/{vcluster['name']}"
    fields = (vcluster.get(field) for field in ("host", "version", "nodes", "status", "endpoint"))
    return (
        name,
        *("-" if field in (None, "") else str(field) for field in fields),
        _resources(vcluster.get("resources") or {}),
    )


def _resources(resources: Mapping[str, Mapping[str, str]]) -> str:
    return (
        ", ".join(
            f"{name} {resources[name]['used'] or '?'}/{resources[name]['hard']}"
            for name in (*RESOURCES, *sorted(one for one in resources if "/" in one))
            if name in resources
        )
        or "-"
    )


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vcluster_table": vcluster_table}
