# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pause, resume or restart an existing virtual cluster. Its other options do not change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import datetime
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import has_ended, without_controller
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    POD,
    RESOURCE_QUOTA,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection, quota_return
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import MEMBERS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import (
    wait_for_agents,
    wait_for_etcd,
    wait_for_server,
    wait_for_syncer,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import SHARED

PAUSED = "paused"
RESUMED = "resumed"
RESTARTED = "restarted"
# On the pods' template, where only a restart writes it, so that no later run takes it away again.
RESTARTED_AT = "tenantry.dev/restarted"
# A tenant's pod may ask for any time to end. With its virtual cluster, this is what it gets.
LONGEST_GRACE = 30


class LifecyclePlan(ABC):
    """Changes of single fields, and pods to delete, in an order of their own.

    It has the interface of a Plan, but patches fields instead of applying whole objects.
    """

    def __init__(self, cluster: Cluster, namespace: str, actions: list[Action]) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.actions = actions
        self.warning = ""
        self.kept: dict[str, str] | None = None  # of what it returns to the tenant's quota
        self._shown = Plan(cluster, actions, Inventory())

    @property
    def changed(self) -> bool:
        return self._shown.changed

    def rows(self) -> list[dict[str, Any]]:
        return self._shown.rows()

    def diff(self) -> dict[str, str]:
        return self._shown.diff()

    @abstractmethod
    def begin(self) -> None:
        """Execute the first changes, which `perform` repeats. Only the last one decides `is_paused`.

        So an interrupted run leaves what the next one finds to be done still.
        """

    @abstractmethod
    def perform(self, deadline: Deadline | None) -> None:
        """Execute the plan. With a deadline, wait until it has taken effect."""

    @property
    def changes_resources(self) -> bool:
        """Whether it changes what the virtual cluster has of the tenant's quota."""
        return bool(self._of_quota())

    def _change(self, *parts: str) -> None:
        """Patch these StatefulSets, in this order."""
        actions = {action.name: action for action in self.actions if action.kind == STATEFUL_SET}
        for action in (actions[part] for part in parts if part in actions):
            self.cluster.merge(action.kind, action.name, action.namespace, action.desired)

    def _change_resources(self) -> None:
        for action in self._of_quota():
            quota_return.execute(self.cluster, action)

    def _of_quota(self) -> list[Action]:
        return [action for action in self.actions if action.kind in (RESOURCE_QUOTA, NAMESPACE)]


class PausePlan(LifecyclePlan):
    """Scale servers, syncer and agents to zero, then etcd, which the servers need until then.

    A syncer that still ran would report the pods as failed, or recreate them.
    """

    def begin(self) -> None:
        self._change(SYNCER, AGENT, SERVER)

    def perform(self, deadline: Deadline | None) -> None:
        """Pause. Without a deadline, wait only for the servers to end."""
        self.begin()
        limit = deadline or Deadline(LONGEST_GRACE)
        for part in (SERVER, SYNCER):
            for pod in connection.pods_of(self.cluster, self.namespace, part):
                wait_gone(self.cluster, POD, pod["metadata"]["name"], self.namespace, limit, what=part)
        self._change(ETCD)
        end_pods(self.cluster, self.namespace)
        if self.changes_resources:
            self._return_resources()
        if deadline:
            for pod in self.cluster.list(POD, self.namespace):
                name = pod["metadata"]["name"]
                wait_gone(self.cluster, POD, name, self.namespace, deadline, what=f"pod {name}")

    def _return_resources(self) -> None:
        """What still ends counts as used."""
        if not is_paused(self.cluster.get(STATEFUL_SET, SERVER, self.namespace)):
            raise Obstacle(f"state: another run has resumed {self.namespace} meanwhile")
        self._change_resources()


class StartPlan(LifecyclePlan):
    """Scale to the recorded numbers, or restart each part one pod at a time."""

    def begin(self) -> None:
        self._change_resources()
        self._change(ETCD, SYNCER, AGENT, SERVER)

    def perform(self, deadline: Deadline | None) -> None:
        self.begin()
        if deadline:
            wait_until_ready(self.cluster, self.namespace, deadline)


def plan_pause(found: VirtualCluster | None, name: str, *, returns: bool) -> LifecyclePlan:
    """Plan a pause, which `returns` the resources of its pods to the tenant's quota.

    Raise a TenantryError if it does not exist or would lose its data.
    """
    found, sets = _stoppable(found, PAUSED, name)
    pause = _pause(found.host, found.namespace, sets)
    if returns and found.record.resources:
        pause.kept = quota_return.kept(found.record, {one["metadata"]["name"]: one for one in sets})
        pause.actions += quota_return.lowering(found, pause.kept)
    if found.record.mode == SHARED and not is_paused(sets[0]):
        pause.warning = _losses(found.host, found.namespace)
    return pause


def plan_restart(found: VirtualCluster | None, name: str, now: datetime) -> LifecyclePlan:
    """Plan a restart at `now`. Raise a TenantryError if it does not exist, is paused or would lose its data."""
    found, sets = running(found, RESTARTED, name)
    return _restart(found.host, found.namespace, sets, now)


def running(found: VirtualCluster | None, state: str, name: str) -> tuple[VirtualCluster, list[dict]]:
    """One that is not paused and comes back as it was, with its StatefulSets."""
    found, sets = _stoppable(found, state, name)
    if is_paused(sets[0]):
        raise TenantryError(f"state: {name} is paused and cannot be {state}. Resume it with state: resumed")
    return found, sets


def existing(found: VirtualCluster | None, state: str, name: str) -> tuple[VirtualCluster, list[dict]]:
    """Return the virtual cluster and its StatefulSets. Raise a TenantryError if it has none."""
    if found is None:
        raise TenantryError(f"state: {name} does not exist and cannot be {state}. Create it first")
    sets = stateful_sets(found)
    if not sets:
        raise TenantryError(
            f"state: {name} was never fully created and cannot be {state}. Run the module with state: present first"
        )
    return found, sets


def _stoppable(found: VirtualCluster | None, state: str, name: str) -> tuple[VirtualCluster, list[dict]]:
    """Return the virtual cluster and its StatefulSets. Raise a TenantryError if it would not return as it was."""
    found, sets = existing(found, state, name)
    if found.record.persistence == "none":
        raise TenantryError(
            f"state: {name} has no volume (persistence.type none) and would lose everything by being {state}. "
            "Keep it present, or delete it"
        )
    return found, sets


def plan_resume(found: VirtualCluster) -> LifecyclePlan:
    """Plan a resume to the recorded number of servers and agents."""
    namespace, record = found.namespace, found.record
    servers = record.servers
    wanted = {SERVER: servers, SYNCER: servers, AGENT: record.agents, ETCD: MEMBERS}
    sets = stateful_sets(found)
    actions = [
        change_of(one, {"replicas": wanted[one["metadata"]["name"]]})
        for one in sets
        if one["spec"]["replicas"] != wanted[one["metadata"]["name"]]
    ]
    raised = quota_return.raising(found) if sets and (record.paused or is_paused(sets[0])) else []
    return StartPlan(found.host, namespace, [*raised, *actions])


def stateful_sets(found: VirtualCluster) -> list[dict]:
    """Return the StatefulSets that exist: server first, then syncer, agent and etcd."""
    namespace = found.namespace
    live = (found.host.get(STATEFUL_SET, name, namespace) for name in (SERVER, SYNCER, AGENT, ETCD))
    return [one for one in live if one]


def is_paused(server: dict | None) -> bool:
    """Return whether the server's StatefulSet has no replicas."""
    return server is not None and server["spec"]["replicas"] == 0


def end_pods(host: Cluster, namespace: str) -> None:
    """Delete the tenant's pods on the host (mode shared), with their grace period up to a limit."""

    def end(pod: dict) -> None:
        meta, grace = pod["metadata"], pod["spec"].get("terminationGracePeriodSeconds", LONGEST_GRACE)
        with suppress(ApiError):
            host.delete(POD, meta["name"], meta["namespace"], uid=meta["uid"], grace=min(grace, LONGEST_GRACE))

    host.map(end, _tenants_pods(host, namespace))


def wait_until_ready(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Wait until servers, syncer and agents are ready. Raise a TenantryError at the deadline."""
    if host.get(STATEFUL_SET, ETCD, namespace):
        wait_for_etcd(host, namespace, deadline)
    wait_for_server(host, namespace, deadline)
    if host.get(STATEFUL_SET, SYNCER, namespace):
        wait_for_syncer(host, namespace, deadline)
    agents = (host.get(STATEFUL_SET, AGENT, namespace) or {}).get("spec", {}).get("replicas", 0)
    if not agents:
        return
    api = connection.inside(host, namespace).limited(max(host.timeout, deadline.remaining()))
    try:
        wait_for_agents(host, api, namespace, agents, deadline)
    finally:
        api.close()


def _pause(host: Cluster, namespace: str, sets: list[dict]) -> PausePlan:
    actions = [change_of(one, {"replicas": 0}) for one in sets if one["spec"]["replicas"]]
    for pod in _tenants_pods(host, namespace):
        if not pod["metadata"].get("deletionTimestamp"):
            actions.append(Action(POD, namespace, pod["metadata"]["name"], "delete", before=pod))
    return PausePlan(host, namespace, actions)


def _losses(host: Cluster, namespace: str) -> str:
    """Return a warning about pods that no controller recreates."""
    try:
        api = connection.inside(host, namespace).limited(host.timeout)
        try:
            lost = without_controller([pod for pod in api.list(POD) if not has_ended(pod)])
        finally:
            api.close()
    except TenantryError as error:
        return f"{namespace}: could not list the pods without a controller, which a resume does not recreate: {error}"
    return f"{namespace}: pods without a controller, which a resume does not recreate: {lost}" if lost else ""


def _restart(host: Cluster, namespace: str, sets: list[dict], now: datetime) -> StartPlan:
    change = {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp(now)}}}}
    return StartPlan(host, namespace, [change_of(one, change) for one in sets])


def change_of(live: dict, spec: dict) -> Action:
    """Return a patch of the spec as an action whose diff has only the changed fields."""
    meta = {"name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"]}
    kind = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta}
    before, path = _same_fields(live["spec"], spec)
    return Action(
        STATEFUL_SET,
        meta["namespace"],
        meta["name"],
        "update",
        [".".join(["spec", *path])],
        before={**kind, "spec": before},
        after={**kind, "spec": spec},
    )


def _same_fields(live: dict, fields: dict) -> tuple[dict, list[str]]:
    """Return the part of the live object that `fields`, a single path, changes, and the path."""
    (name, inner), have = next(iter(fields.items())), live.get(next(iter(fields)))
    if not isinstance(inner, dict):
        return ({} if have is None else {name: have}), [f"[{name}]" if "/" in name else name]
    before, path = _same_fields(have or {}, inner)
    return {name: before}, [name, *path]


def _tenants_pods(host: Cluster, namespace: str) -> list[dict]:
    return host.list(POD, namespace, naming.selecting({naming.LABEL_MANAGED_BY: naming.MANAGED_BY_SYNCER}))
