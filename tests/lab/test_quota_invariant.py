"""FLEET-1: whatever runs do, several at once, killed, and with a member cut off, no tenant gets more than its quota."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import quota_keys
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import OPTIONS
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from .cable import Cable, cabled
from .harness import NIGHTLY, call_module, sized

QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "40Gi", "pods": 20, "vclusters": 3}
NAMES = ("a", "b", "c", "d")
AT_ONCE = sized(3, 8)
ROUNDS = sized(6, 125)


class Killed(BaseException):
    """As SIGKILL: nothing of the run goes on."""


@dataclass(frozen=True)
class Step:
    """What one run does; it is killed at one of its writes, if that is not 0."""

    name: str
    state: str
    host: str | None
    cpu: int
    kill_at: int

    def item(self, tenant: str) -> dict[str, Any]:
        item: dict[str, Any] = {"tenant": tenant, "name": self.name, "host": self.host, "state": self.state}
        item |= {"mode": "dedicated", "version": "v1.37.2+k3s1", "agents": 0, "server": {"cpu": "500m"}}
        item["resources"] = {"cpu": str(self.cpu), "memory": "2Gi", "storage": "5Gi", "pods": 6}
        found = ArgumentSpecValidator(OPTIONS).validate(item)
        assert not found.error_messages, found.error_messages
        return dict(found.validated_parameters)


class Run(Context):
    """One run of the module vcluster, in a thread."""

    def __init__(self, hub: Path, kill_at: int) -> None:
        params = {"kubeconfig": str(hub), "context": None, "timeout": 5}
        super().__init__(SimpleNamespace(check_mode=False, params=params, no_log_values=set(), warn=lambda _text: None))
        self._kill_at, self._writes, self._lock = kill_at, 0, threading.Lock()

    def cluster(self, config: dict[str, Any], name: str) -> Cluster:
        found = super().cluster(config, name)
        pool = found._client.client.rest_client.pool_manager
        send = pool.request

        def request(method: str, *args: Any, **words: Any) -> Any:
            with self._lock:
                self._writes += method != "GET"
                if self._kill_at and self._writes >= self._kill_at:
                    raise Killed
            return send(method, *args, **words)

        pool.request = request
        return found


@dataclass
class World:
    """A hub, the member edge behind a cable, and one tenant at a time."""

    hub: Path
    cable: Cable
    clusters: list[Cluster]
    skew: timedelta = timedelta()
    seen: Counter[str] = field(default_factory=Counter)
    tenants: list[str] = field(default_factory=list)

    def do(self, tenant: str, step: Step) -> None:
        try:
            options = VClusterOptions(wait=False, wait_timeout=20)
            (row,) = reconcile.run(Run(self.hub, step.kill_at), [step.item(tenant)], options)
            problem = row.get("error", "")
        except Killed:
            problem = "killed"
        except TenantryError as error:
            problem = str(error)
        outcomes = {"": "done", "killed": "killed", "left (": "over quota", "does not answer": "silent"}
        self.seen[next((word for part, word in outcomes.items() if part and part in problem), problem or "done")] += 1

    def fill(self, tenant: str) -> None:
        """As a tenant does: take all that the limits allow."""
        for cluster, quota in self.quotas(tenant):
            space = quota["metadata"]["namespace"]
            container = {"name": "web", "image": "web", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}
            container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            safe = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
            meta = {"generateName": "web-", "namespace": space}
            spec = {"serviceAccountName": "vcluster", "securityContext": safe, "containers": [container]}
            try:
                cluster._call(
                    "post",
                    "v1/Pod",
                    None,
                    space,
                    body={"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
                )
            except Exception as error:
                self.seen[type(error).__name__] += 1
            else:
                self.seen["pod"] += 1

    def quotas(self, tenant: str) -> list[tuple[Cluster, dict]]:
        selector = f"tenantry.dev/tenant={tenant}"
        return [
            (cluster, quota)
            for cluster in self.clusters
            for quota in cluster.list("v1/ResourceQuota", selector=selector)
            if quota["metadata"]["name"] == VCLUSTER_QUOTA
        ]

    def given(self, tenant: str) -> dict[str, list[tuple[str, Any]]]:
        """What each virtual cluster has: the largest of its record, the limits and the use, from the API servers.

        A paused one has returned what its pods do not use any more.
        """
        found: dict[str, list[tuple[str, Any]]] = {key: [] for key in RESOURCES}
        limits = {(one.name, quota["metadata"]["namespace"]): quota for one, quota in self.quotas(tenant)}
        for cluster in self.clusters:
            for space in cluster.list("v1/Namespace", selector=f"tenantry.dev/tenant={tenant},tenantry.dev/vcluster"):
                name = space["metadata"]["name"]
                record = VClusterRecord.of(space).counted
                quota = limits.get((cluster.name, name), {"spec": {"hard": {}}})
                used = (quota.get("status") or {}).get("used") or {}
                for key in RESOURCES:
                    theirs = quota_keys(key)[-1]
                    amounts = (record[key], quota["spec"]["hard"].get(theirs, "0"), used.get(theirs, "0"))
                    found[key].append((name, max(quantities.parse(one, key) for one in amounts)))
        return found


@pytest.fixture(scope="module")
def world(platform: Path, second_api_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with cabled(second_api_server, tmp_path_factory.mktemp("cable")) as (made, through):
        member = {"kubeconfig": platform, "name": "edge", "member_kubeconfig": through}
        assert not call_module("fleet_member", **member).failed
        files = {"hub": platform, "edge": second_api_server}
        clusters = [Cluster.from_kubeconfig(kubeconfig.load(str(file)), name=name) for name, file in files.items()]
        world = World(platform, made, clusters)
        yield world
        made.mend()
        gone = [{"tenant": tenant, "name": name, "state": "absent"} for tenant in world.tenants for name in NAMES]
        removed = call_module("vcluster", kubeconfig=platform, vclusters=gone)
        assert not removed.failed, removed.msg
        absent = [{"tenant": tenant, "state": "absent"} for tenant in world.tenants]
        assert not call_module("tenant_quota", kubeconfig=platform, tenants=absent).failed
        assert not call_module("fleet_member", **member, state="absent").failed


STEPS = st.builds(
    Step,
    name=st.sampled_from(NAMES),
    state=st.sampled_from(("present", "present", "present", "absent", "paused", "resumed")),
    host=st.sampled_from((None, "hub", "edge")),
    cpu=st.integers(1, 3),
    kill_at=st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5, 8)),
)


class Quotas(RuleBasedStateMachine):
    """Rounds of runs at the same time. After each, the API servers are asked what the tenant has."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.tenant = world, f"random{len(world.tenants)}"
        world.tenants.append(self.tenant)
        made = call_module("tenant_quota", kubeconfig=world.hub, tenant=self.tenant, quota=QUOTA)
        assert not made.failed, made.msg

    @rule(
        steps=st.lists(STEPS, min_size=AT_ONCE, max_size=AT_ONCE),
        cut=st.sampled_from(("", "", "first", "meanwhile")),
        later=st.booleans(),
    )
    def runs_at_once(self, steps: list[Step], cut: str, later: bool) -> None:
        """Ten minutes later, promises of killed runs count no more."""
        self.world.skew += promises.LASTS if later else timedelta()
        if cut == "first":
            self.world.cable.cut()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            started = [pool.submit(self.world.do, self.tenant, step) for step in steps]
            if cut == "meanwhile":
                started[0].result()
                self.world.cable.cut()
        for one in started:
            one.result()
        self.world.fill(self.tenant)
        if cut:
            self.within_quota()
            self.world.cable.mend()

    @invariant()
    def within_quota(self) -> None:
        given = self.world.given(self.tenant)
        for key, amounts in given.items():
            assert sum(amount for _name, amount in amounts) <= quantities.parse(str(QUOTA[key]), key), (key, amounts)
        assert len(given["cpu"]) <= QUOTA["vclusters"], given["cpu"]

    def teardown(self) -> None:
        self.world.cable.mend()


def test_quota_holds_over_random_runs_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = promises.clock
    monkeypatch.setattr(promises, "clock", lambda: clock() + world.skew)
    run_state_machine_as_test(
        lambda: Quotas(world),
        settings=settings(
            max_examples=2,  # the first one is always the simplest
            stateful_step_count=ROUNDS,
            deadline=None,
            derandomize=not NIGHTLY,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(world.seen))
    assert world.seen["done"] > 0, world.seen
    assert world.seen["over quota"] > 0, world.seen
