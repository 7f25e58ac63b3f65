# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Format the usage of tenants as a text table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.plugin_utils._tables import aligned

COLUMNS = ("TENANT", "RESOURCE", "QUOTA", "ALLOCATED", "AVAILABLE", "USED NOW")
COUNTED = (*RESOURCES, "vclusters")


def usage_table(tenants: Iterable[Mapping[str, Any]]) -> str:
    """Return the usage of tenants as a table, one line for each tenant and resource."""
    rows = [
        (tenant["name"], key, *(tenant[part].get(key, "0") for part in ("quota", "allocated", "available", "used")))
        for tenant in tenants
        for key in (*COUNTED, *sorted(tenant["quota"].keys() - {*COUNTED}))
    ]
    return aligned([COLUMNS, *rows]) if rows else "no tenants"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"usage_table": usage_table}
