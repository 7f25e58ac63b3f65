# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tenants ask for: requests as they were made, what is due for each, and what it is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils import _names, _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._render_requests import SHORT
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_places import Found
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_upkeep import moment, stamp

READY = "Ready"
PENDING = "Pending"
PAUSED = "Paused"
REFUSED = "Refused"
FAILED = "Failed"
EXPIRED = "Expired"

WEAKER = {"restricted": ("baseline",)}  # what a level of the platform does not let a request ask for
SLICE = ("cpu", "memory", "storage", "pods")


@dataclass(frozen=True)
class Request:
    """One request, of a tenant."""

    tenant: str
    obj: dict

    @property
    def name(self) -> str:
        return self.obj["metadata"]["name"]

    @property
    def uid(self) -> str:
        return self.obj["metadata"]["uid"]

    @property
    def generation(self) -> int:
        return self.obj["metadata"].get("generation", 0)

    @property
    def created(self) -> datetime:
        return moment(self.obj["metadata"]["creationTimestamp"])

    @property
    def spec(self) -> dict:
        return self.obj["spec"]

    @property
    def status(self) -> dict:
        return self.obj.get("status") or {}

    @property
    def requester(self) -> str:
        return self.spec["requestedBy"]

    @property
    def user(self) -> str | None:
        """The user of the tenant who asks; None for somebody from outside, such as an operator."""
        name = self.requester.removeprefix(f"system:serviceaccount:{_names.tenant_namespace(self.tenant)}:")
        return name if re.fullmatch(SHORT, name, re.ASCII) else None

    @property
    def namespace(self) -> str:
        return f"{self.tenant}--{self.name}"

    @property
    def is_new(self) -> bool:
        """Whether it was made or changed since it was answered."""
        return self.status.get("observedGeneration") != self.generation

    def expired(self, now: datetime) -> str:
        """Since when, where it is no longer to be kept."""
        if not self.spec.get("expires"):
            return ""
        ends = self.created + timedelta(seconds=_seconds(self.spec["expires"]))
        return stamp(ends) if ends <= now else ""


def origin(found: Found | None) -> dict:
    """The request that a virtual cluster was made for; empty where it is the inventory's."""
    return (found.record.get("request") or {}) if found else {}


def is_of(request: Request, found: Found | None) -> bool:
    return origin(found).get("uid") == request.uid


def refusal(request: Request, found: Found | None) -> str:
    """Why a request cannot be had at all."""
    if found and not origin(found):
        return f"metadata.name: {request.name} is a virtual cluster that the administrators made; choose another name"
    return ""


def item_of(
    request: Request, defaults: Mapping[str, Any], versions: Iterable[str], asker: Mapping[str, str | None]
) -> dict:
    """The item of the module vcluster: the administrators' defaults, with what a requester decides, and no more."""
    spec = request.spec
    item = {
        **defaults,
        "tenant": request.tenant,
        "name": _names.check_name(request.name, "metadata.name"),
        "state": "present",
        "kubeconfig_path": None,
        "slice": {key: _plain(spec["slice"].get(key)) for key in SLICE},
        "request": {"uid": request.uid, **asker},
    }
    if spec.get("version"):
        item["version"] = _version(spec["version"], defaults["version"], versions)
    if spec.get("podSecurity"):
        item["pod_security"] = _pod_security(spec["podSecurity"], defaults["pod_security"])
    if spec.get("expires"):
        item["expires"] = _expires(spec["expires"], defaults["expires"])
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
            f"spec.version: {shown(asked)} is not offered; leave it out, or take one of {', '.join(allowed) or 'none'}"
        )
    return asked


def _pod_security(asked: str, usual: str | None) -> str:
    if asked in WEAKER.get(usual or "", ()):
        raise TenantryError(f"spec.podSecurity: {asked} is weaker than {usual}, the platform's; leave it out")
    return asked


def _expires(asked: str, longest: str | None) -> str:
    seconds = _seconds(asked)
    if longest and seconds > _seconds(longest):
        raise TenantryError(f"spec.expires: {asked} is longer than the {longest} that the platform allows")
    return asked


def _seconds(expires: str) -> int:
    return _quantities.seconds(expires, "spec.expires", "1h", "3650d")


@dataclass(frozen=True)
class Outcome:
    """What came of a request in this run."""

    phase: str
    message: str = ""
    endpoint: str | None = None
    kubeconfig: str | None = None


def status_of(request: Request, outcome: Outcome, now: datetime) -> dict:
    """What the request is told. The same again where nothing has changed, the time of the last change included."""
    before = next(iter(request.status.get("conditions") or []), {})
    ready = "True" if outcome.phase == READY else "False"
    since = before.get("lastTransitionTime") if before.get("status") == ready else None
    found = {
        "phase": outcome.phase,
        "message": outcome.message,
        "namespace": request.namespace,
        "endpoint": outcome.endpoint,
        "kubeconfig": outcome.kubeconfig,
        "observedGeneration": request.generation,
        "conditions": [
            {
                "type": READY,
                "status": ready,
                "reason": outcome.phase,
                "message": outcome.message,
                "lastTransitionTime": since or stamp(now),
                "observedGeneration": request.generation,
            }
        ],
    }
    return {key: value for key, value in found.items() if value is not None}


def forgotten(found: Found, requests: Mapping[str, Request], home: dict | None, definition: dict) -> bool:
    """
    Whether the request of a virtual cluster was deleted.

    Where the home namespace or the kind itself is younger than the virtual cluster, all requests were lost at once:
    that is no wish of anybody. Times are whole seconds, so the same one may be younger.
    """
    if not origin(found) or home is None:
        return False
    asked = requests.get(found.namespace["metadata"]["name"])
    if asked is not None and is_of(asked, found):
        return False
    made = moment(found.namespace["metadata"]["creationTimestamp"])
    return all(moment(place["metadata"]["creationTimestamp"]) < made for place in (home, definition))
