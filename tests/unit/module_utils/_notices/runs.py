"""Runs of the module notices against one hub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CONFIG_MAP,
)
from ansible_collections.tenantry.kube.plugins.module_utils._notices import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage as tenant_usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage import gather
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample
from ansible_collections.tenantry.kube.plugins.module_utils._users import info as users_info

from .._usage.fleet import NOW, sample, vcluster
from .._vcluster.fake_host import FakeHost
from .facts import DAYS, params, usage
from .receivers import Webhook

HOUR = timedelta(hours=1)
ANSWERED: dict[str, Any] = {"users": [], "unreachable_members": {}, "unreachable_vclusters": {}}


class Runs:
    """Runs of the module against one hub, at the times that a test chooses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub = FakeHost.hub()
        self.time = NOW
        self.gathering = timedelta(0)  # how long that takes
        self.missing: dict[str, str] = {}
        self.vclusters = [vcluster(expires=NOW + DAYS)]
        self.tenants: list[dict[str, Any]] = [usage()]
        self.users: Callable[..., dict[str, Any]] = lambda *_given, **_more: ANSWERED
        self.warnings: list[str] = []
        monkeypatch.setattr(gather, "take", lambda _context, _now: self.sample())
        monkeypatch.setattr(reconcile, "clock", lambda: self.time + self.gathering)
        monkeypatch.setattr(tenant_usage, "run", lambda _context, _tenant: {"tenants": self.tenants})
        monkeypatch.setattr(users_info, "run", self._ask)

    def _ask(self, *given: Any, **more: Any) -> dict[str, Any]:
        return self.users(*given, **more)

    def sample(self) -> Sample:
        return sample(*self.vclusters, time=self.time, missing=self.missing)

    def run(self, *targets: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        self.warnings = []
        context: Any = SimpleNamespace(hub=self.hub, check_mode=check, warn=self.warnings.append)
        return reconcile.run(context, params(*targets, **options))

    def ledgers(self) -> list[dict]:
        return [one for one in self.hub.list(CONFIG_MAP) if one["metadata"]["name"].startswith("notices-")]


def states(result: dict[str, Any]) -> list[str]:
    return [row["state"] for row in result["notices"]]


def abouts(found: Webhook) -> list[list[str]]:
    """What each message was about."""
    return [[one["about"] for one in body["notices"]] for body in found.bodies]
