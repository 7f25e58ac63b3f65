# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests for virtual clusters: validation, order and options. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import BaseRequest, is_lost

WEAKER = {"restricted": ("baseline",)}  # levels that a request must not have if the platform's is this one


class Request(BaseRequest):
    """A request for a virtual cluster."""

    @property
    def namespace(self) -> str:
        return naming.joined(self.tenant, self.name)

    def expired(self, now: datetime) -> str:
        """Return the time at which it expired, or an empty string."""
        if not self.spec.get("ttl"):
            return ""
        ends = self.created + timedelta(seconds=_seconds(self.spec["ttl"]))
        return stamp(ends) if ends <= now else ""


def origin(found: VirtualCluster | None) -> dict:
    """Return the request that a virtual cluster was created for; empty for those of the inventory."""
    return (found.record.request or {}) if found else {}


def is_of(request: Request, found: VirtualCluster | None) -> bool:
    """Return whether the virtual cluster was created for this request."""
    return origin(found).get("uid") == request.uid


def in_turns(requests: Mapping[str, Request], found: Mapping[str, VirtualCluster]) -> list[str]:
    """Return the namespaces in the order in which the quota is assigned.

    Existing virtual clusters come first, then the oldest request of each requester, then the next of each. `requests`
    is sorted by age.
    """
    before: Counter[tuple[str, str]] = Counter()
    turns = {}
    for name, request in requests.items():
        if name not in found:
            before[request.tenant, request.requester] += 1
        turns[name] = before[request.tenant, request.requester] if name not in found else 0
    return sorted(turns, key=turns.__getitem__)


def refusal(request: Request, found: VirtualCluster | None) -> str:
    """Return why a request is denied, or an empty string."""
    if found and not origin(found):
        return f"metadata.name: {request.name} is a virtual cluster of the inventory. Choose another name"
    return ""


def item_of(
    request: Request, defaults: Mapping[str, Any], versions: Iterable[str], requester_account: Mapping[str, str | None]
) -> dict:
    """Return the item of the module vcluster: the administrators' defaults with the requester's choices."""
    spec = request.spec
    item = {
        **defaults,
        "tenant": request.tenant,
        "name": naming.check_name(request.name, "metadata.name"),
        "state": "present",
        "kubeconfig_path": None,
        "resources": {key: _plain(spec["resources"].get(key)) for key in naming.RESOURCES},
        "request": {"uid": request.uid, **requester_account},
    }
    if spec.get("version"):
        item["version"] = _version(spec["version"], defaults["version"], versions)
    if spec.get("podSecurity"):
        item["pod_security"] = _pod_security(spec["podSecurity"], defaults["pod_security"])
    if spec.get("ttl"):
        item["ttl"] = _ttl(spec["ttl"], defaults["ttl"])
    if spec.get("sleep"):
        given = spec["sleep"]
        item["sleep"] = {key: given.get(key) for key in ("idle", "schedule")}
        item["sleep"]["timezone"] = given.get("timezone") or "UTC"
    return item


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else str(value)


def _version(asked: str, usual: str | None, offered: Iterable[str]) -> str:
    allowed = dict.fromkeys([*([usual] if usual else []), *offered])
    if asked not in allowed:
        raise TenantryError(
            f"spec.version: {shown(asked)} is not offered. Omit it, or use one of {', '.join(allowed) or 'none'}"
        )
    return asked


def _pod_security(asked: str, usual: str | None) -> str:
    if asked in WEAKER.get(usual or "", ()):
        raise TenantryError(f"spec.podSecurity: {asked} is weaker than {usual}, the platform's. Omit it")
    return asked


def _ttl(asked: str, longest: str | None) -> str:
    seconds = _seconds(asked)
    if longest and seconds > _seconds(longest):
        raise TenantryError(f"spec.ttl: {asked} is longer than the {longest} that the platform allows")
    return asked


def _seconds(ttl: str) -> int:
    return quantities.seconds(ttl, "spec.ttl", "1h", "3650d")


def forgotten(found: VirtualCluster, requests: Mapping[str, Request], home: dict | None, definition: dict) -> bool:
    """Return whether the request of a virtual cluster was deleted."""
    if not origin(found) or home is None:
        return False
    asked = requests.get(found.namespace)
    if asked is not None and is_of(asked, found):
        return False
    return not is_lost(found.namespace_object, home, definition)
