"""Facts about a fleet, and targets, as the module notices gathers and takes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._notices.due import Facts, Thresholds
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import Notice
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import THRESHOLDS, NoticeOptions, Target

from .._usage.fleet import NOW, sample

DAYS = timedelta(days=1)
USUAL = Thresholds(
    ttl=3 * DAYS,
    sleep=timedelta(minutes=30),
    idle=14 * DAYS,
    credential=14 * DAYS,
    certificate=21 * DAYS,
    snapshot=7 * DAYS,
)
TARGET: dict[str, Any] = {
    **dict.fromkeys(("tenant", "kinds", "url", "token", "ca_path", "to", "digest")),
    **{"name": "operations", "type": "webhook", "quiet_hours": [], "timezone": "UTC"},
}
SMTP: dict[str, Any] = {
    **dict.fromkeys(("port", "username", "password", "ca_path")),
    **{"host": "127.0.0.1", "from": "tenantry@example.com", "security": "starttls"},
}


def facts(*vclusters: Any, **other: Any) -> Facts:
    missing, clusters = other.pop("missing", None), other.pop("clusters", None)
    found = sample(*vclusters, missing=missing, clusters=clusters, time=other.pop("time", NOW))
    return Facts(found, other.pop("tenants", ()), **other)


def usage(name: str = "payments", quota: str = "10", **counted: str) -> dict[str, Any]:
    """The row of a tenant with the same quota of each resource."""
    amounts = {"cpu": "0", "memory": "0", "storage": "0", "pods": "0", "vclusters": "0", **counted}
    return {"name": name, "quota": dict.fromkeys(amounts, quota), "counted": amounts}


def options(*targets: dict[str, Any], smtp: dict[str, Any] | None = None, **thresholds: str) -> NoticeOptions:
    return NoticeOptions.of(params(*targets, smtp=smtp, **thresholds))


def params(*targets: dict[str, Any], smtp: dict[str, Any] | None = None, **thresholds: str) -> dict[str, Any]:
    """The options of the module with their defaults."""
    return {
        "targets": [{**TARGET, **one} for one in targets],
        "smtp": None if smtp is None else {**SMTP, **smtp},
        "thresholds": {**THRESHOLDS, **thresholds},
    }


def target(**given: Any) -> Target:
    usual = {"to": ["ops@example.com"]} if given.get("type") == "mail" else {"url": "https://hooks.example.com/T0"}
    return options({**usual, **given}, smtp={}).targets[0]


def notice(number: int = 1, **other: Any) -> Notice:
    usual: dict[str, Any] = {
        "level": "warning",
        "tenant": "payments",
        "about": f"payments/dev-{number}",
        "text": "expires soon",
        "remedy": "Raise its ttl",
        "keys": (f"ttl payments/dev-{number}",),
    }
    return Notice(**{**usual, **other})
