"""WAY-2: one developer asks for a thousand virtual clusters, and others wait no longer for theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .harness import ModuleResult, call_module, ran, until, writes
from .people import await_policy, until_old_enough

KIND = "virtualclusterrequests"
LIMIT = f"count/{KIND}.tenantry.dev"
RESOURCES = {"cpu": 2, "memory": "2Gi", "pods": 10}
TENANTS = {"calm": ("erin",), "busy": ("bob", "carol")}
ASKED = 1000


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub with two tenants, whose developers ask for virtual clusters."""
    tenants = [{"tenant": tenant, "quota": {"vclusters": 1}} for tenant in TENANTS]
    users = [
        {"tenant": tenant, "name": name, "role": "developer", "hub_access": True}
        for tenant, names in TENANTS.items()
        for name in names
    ]
    for made in (
        call_module("tenant_quota", kubeconfig=platform, tenants=tenants),
        call_module("tenant_user", kubeconfig=platform, users=users),
    ):
        assert not made.failed, made.msg
    for tenant in TENANTS:
        until_old_enough(platform, f"tenant-{tenant}")
    yield platform
    ran(platform, "delete", KIND, "--all", "--all-namespaces")
    for removed in (
        serve(platform, wait=True),
        call_module("tenant_user", kubeconfig=platform, users=[{**one, "state": "absent"} for one in users]),
        call_module("tenant_quota", kubeconfig=platform, tenants=[{**one, "state": "absent"} for one in tenants]),
    ):
        assert not removed.failed, removed.msg


def serve(hub: Path, **options: Any) -> ModuleResult:
    given = {"defaults": {"version": "v1.37.2+k3s1"}, "wait": False, **options}
    return call_module("vcluster_self_service", kubeconfig=hub, **given)


def as_user(hub: Path, tenant: str, name: str) -> Cluster:
    admin = Cluster.from_kubeconfig(kubeconfig.load(str(hub)), name="hub")
    config = kubeconfig.load(str(hub))
    token = admin.token_request(f"tenant-{tenant}", name, seconds=3600, bound_secret=None)[0]
    config["users"][0]["user"] = {"token": token}
    return Cluster.from_kubeconfig(config, name="hub")


def request(tenant: str, user: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "VirtualClusterRequest",
        "metadata": {"name": name, "namespace": f"tenant-{tenant}", **metadata},
        "spec": {"requestedBy": user, "resources": RESOURCES},
    }


@dataclass(frozen=True)
class Cost:
    """Of a run in which nothing changes: the least of some, since this machine does other things too."""

    seconds: float
    processor: float  # seconds
    calls: int  # of API servers


def cost(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Cost:
    call = Cluster._call
    calls = []

    def counted(self: Cluster, *arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        return call(self, *arguments, **more)

    monkeypatch.setattr(Cluster, "_call", counted)
    found = []
    for _look in range(7):
        calls.clear()
        start, used = time.monotonic(), time.process_time()
        done = serve(hub)
        found.append(Cost(time.monotonic() - start, time.process_time() - used, len(calls)))
        assert not done.changed, done.data
    monkeypatch.setattr(Cluster, "_call", call)
    return Cost(*(min(getattr(one, field) for one in found) for field in ("seconds", "processor", "calls")))


def counted(hub: Path) -> str:
    """How many requests of the tenant busy its quota has counted."""
    quota = json.loads(ran(hub, "get", "resourcequota", "tenant", "-n", "tenant-busy", "-o", "json"))
    return str(quota["status"]["used"][LIMIT])


def flood(bob: Cluster) -> tuple[int, ApiError | None]:
    """How many of a thousand are accepted, each as large as can be, and why the first one was not."""
    accepted, refusal = 0, None
    for number in range(ASKED):
        try:
            bob.create(request("busy", "bob", f"flood-{number}", annotations={"n": "x" * 8000}))
            accepted += 1
        except ApiError as error:
            refusal = refusal or error
    return accepted, refusal


def test_thousand_requests_of_one_developer_delay_nobody(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bob, carol, erin = (as_user(hub, tenant, name) for tenant, names in reversed(TENANTS.items()) for name in names)
    await_policy(lambda: not _accepts(bob, {"n": "x" * 9000}))
    erin.create(request("calm", "erin", "mine"))
    carol.create(request("busy", "carol", "mine"))
    assert not serve(hub).failed
    quiet = cost(hub, monkeypatch)

    # Of a new kind, Kubernetes sees deletions later than it counts. Then it counts once more, and less than there is.
    carol.create(request("busy", "carol", "probe"))
    ran(hub, "delete", KIND, "probe", "-n", "tenant-busy")
    until(lambda: counted(hub) == "1", 120)
    accepted, refusal = flood(bob)
    assert accepted == 20, "21 in all, of which one is carol's"
    assert f"exceeded quota: tenant, requested: {LIMIT}=1, used: {LIMIT}=21, limited: {LIMIT}=21" in str(refusal)
    told = serve(hub)
    phases = [row["phase"] for row in told.data["results"]]
    assert (phases.count("Denied"), phases.count("Pending")) == (20, 2)

    written = len(writes(hub))
    flooded = cost(hub, monkeypatch)
    assert len(writes(hub)) == written
    print(f"with nothing refused {quiet}, with {accepted} requests of one developer {flooded}")
    assert flooded.calls <= quiet.calls + 1, "the quotas of the tenant, once, because some of its requests want more"
    # Not by the clock alone, which counts what this machine does beside.
    assert flooded.processor - quiet.processor < quiet.seconds / 10


def _accepts(who: Cluster, annotations: dict[str, str]) -> bool:
    try:
        who.create(request("busy", "bob", "probe", annotations=annotations), dry_run=True)
    except ApiError:
        return False
    return True
