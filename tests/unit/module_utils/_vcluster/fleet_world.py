"""A hub and a member with the virtual clusters of a tenant, for tests of quotas over a fleet."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP, NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD, tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .._tenant.fleet import add_vcluster
from .example import make_item
from .fake_host import FakeHost

QUOTA = {"cpu": "8", "memory": "64Gi", "storage": "100Gi", "pods": "100", "vclusters": "4"}
SPACE = "tenant-payments"


def part(cpu: int | str) -> dict[str, str]:
    return {"cpu": str(cpu), "memory": "4Gi", "storage": "20Gi", "pods": "4"}


class FakeFleet:
    """A hub and the member edge, which may be silent."""

    def __init__(self) -> None:
        self.hub, self.edge = FakeHost.hub(), FakeHost("edge")
        for obj in tenant_objects("payments", QUOTA, "payments"):
            self.hub.apply(obj)
        promises.begin(self.hub, "payments")
        self.silent = False

    def names(self) -> list[str]:
        return ["hub", "edge"]

    def cluster(self, name: str) -> FakeHost:
        return {"hub": self.hub, "edge": self.edge}[name]

    def vclusters(self) -> tuple[list[VirtualCluster], dict[str, str]]:
        hosts = [self.hub] if self.silent else [self.hub, self.edge]
        found = [VirtualCluster(host, one) for host in hosts for one in host.list(NAMESPACE) if "--" in _name(one)]
        return found, {"edge": "edge is down"} if self.silent else {}

    def add(self, host: FakeHost, name: str, cpu: int | str, used: dict[str, str] | None = None) -> None:
        add_vcluster(host, "payments", name, {"resources": part(cpu), "format": 1}, {"limits.cpu": str(cpu)})
        if used:
            host.merge("v1/ResourceQuota", "vcluster", f"payments--{name}", {"status": {"used": used}})

    def promised(self) -> dict[str, Promise]:
        return promises.of(self.record())

    def record(self) -> dict:
        found = self.hub.get(CONFIG_MAP, RECORD, SPACE)
        assert found
        return found

    def correct(self, *, check: bool = False) -> list[str]:
        """As a run does at its beginning; its warnings."""
        warnings: list[str] = []
        FleetState(self).quotas.correct(SimpleNamespace(check_mode=check, warn=warnings.append))
        return warnings

    def lose(self, text: str | None = None) -> None:
        annotations = {promises.ANNOTATION: text}
        self.hub.merge(CONFIG_MAP, RECORD, SPACE, {"metadata": {"annotations": annotations}})


def _name(obj: dict) -> str:
    return obj["metadata"]["name"]


def spec(name: str, cpu: int | str) -> Wanted:
    return parse(make_item(name=name, agents=0, resources=part(cpu))).wanted


def refused(fleet: FakeFleet, *specs: Wanted, leaving: Iterable[str] = ()) -> str:
    return str(FleetState(fleet).quotas.over_quota(specs, leaving).get("payments", ""))


def reserve(state: FleetState, *specs: Wanted, host: str = "hub", leaving: Iterable[str] = ()) -> dict[str, Any]:
    gone = {"payments": list(leaving)} if leaving else {}
    return state.quotas.reserve(specs, {one.namespace: host for one in specs}, gone)
