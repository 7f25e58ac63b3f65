# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resources by the names of options and records, and by those in a ResourceQuota. Pure.

`cpu`, `memory`, `storage` and `pods` always count. Further ones have names of their own, extended resources and huge
pages those of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES

# The names in a ResourceQuota. Of several, the last one counts: tenants can use up limits.
_KEYS = {
    "cpu": ("requests.cpu", "limits.cpu"),
    "memory": ("requests.memory", "limits.memory"),
    "storage": ("requests.storage",),
    "pods": ("pods",),
    "ephemeral_storage": ("requests.ephemeral-storage", "limits.ephemeral-storage"),
    "node_ports": ("services.nodeports",),
    "load_balancers": ("services.loadbalancers",),
}
_EXTENDED = re.compile(
    r"(?=.{1,200}/)([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z]+/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_HUGE_PAGES = re.compile(r"hugepages-[1-9][0-9]*[KMG]i")
_REQUESTS = "requests."


def quota_keys(resource: str) -> tuple[str, ...]:
    """Return the names of a resource in a ResourceQuota."""
    return _KEYS.get(resource, (f"{_REQUESTS}{resource}",))


def counted_in(amounts: Mapping[str, str]) -> dict[str, str]:
    """Return what a part of a ResourceQuota has of each resource, by the names of options."""
    found = {name: amounts[keys[-1]] for name, keys in _KEYS.items() if keys[-1] in amounts}
    names = (key.removeprefix(_REQUESTS) for key in amounts if key.startswith(_REQUESTS))
    return {**found, **{name: amounts[f"{_REQUESTS}{name}"] for name in names if _is_extended(name)}}


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of resources: those that always count, then the others."""
    return [*RESOURCES, *sorted({*names} - {*RESOURCES})]


def parse_extended(given: Mapping[str, object], option: str) -> dict[str, str]:
    """Validate extended resources and huge pages, and return their canonical amounts."""
    found = {}
    for name, asked in given.items():
        field = f"{option}.{name}"
        if not _is_extended(str(name)):
            raise TenantryError(
                f"{option}: {shown(name)} is not the name of an extended resource. Use one such as nvidia.com/gpu or "
                "hugepages-2Mi"
            )
        amount, huge = quantities.parse(asked, field), bool(_HUGE_PAGES.fullmatch(str(name)))
        if not huge and amount % 1:
            raise TenantryError(f"{field}: {shown(asked)} is not a whole number, as extended resources require")
        found[str(name)] = quantities.display(amount, binary=huge)
    return found


def _is_extended(name: str) -> bool:
    if _HUGE_PAGES.fullmatch(name):
        return True
    return bool(_EXTENDED.fullmatch(name)) and not name.partition("/")[0].endswith("kubernetes.io")
