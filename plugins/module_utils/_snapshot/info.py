# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_snapshot_info."""

from __future__ import annotations

from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store


def run(context: Context, store: Store, tenant: str | None, name: str | None) -> dict:
    """Return the snapshots of one virtual cluster or of all. Errors of one do not hide the others."""
    for option, value in (("tenant", tenant), ("name", name)):
        if value is not None:
            naming.check_name(value, option)
    result: dict[str, list[dict]] = {"snapshots": [], "unreadable": []}

    def is_wanted(namespace: str) -> bool:
        return all(asked in (None, of) for asked, of in zip((tenant, name), namespace.split("--"), strict=True))

    namespaces, incomplete = store.listed(is_wanted)
    if incomplete:
        context.warn(str(incomplete))
        beyond = {"tenant": tenant, "name": name, "file": store.where("").rstrip("/"), "reason": str(incomplete)}
        result["unreadable"].append(beyond)
    for namespace in namespaces:
        of = dict(zip(("tenant", "name"), namespace.split("--"), strict=True))
        problem, found = attempt(partial(store.list, namespace))
        if found is None:
            context.warn(problem or "")
            result["unreadable"].append({**of, "file": store.where(namespace), "reason": problem})
            continue
        result["snapshots"] += [snapshot.row() for snapshot in found.snapshots]
        for bad in found.unreadable:
            context.warn(f"{namespace}: {bad}")
            result["unreadable"].append({**of, **bad.row()})
    return result
