# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations for the states absent, paused, resumed, restarted and rotated. apply.py has the one for present."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE_BINDING,
    ROLE_BINDING,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation, connection, delete, lifecycle
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.admin_kubeconfig import AdministratorsKubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import (
    OperationResult,
    PlacedVCluster,
    VClusterOperation,
    completed,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import check_may_be_deleted

_OF_USERS = naming.selector("user")


@dataclass(frozen=True)
class AbsentOperation(VClusterOperation):
    """Delete the namespace, and the administrator's kubeconfig file."""

    placed: PlacedVCluster
    plan: Plan

    @classmethod
    def of(cls, placed: PlacedVCluster) -> AbsentOperation:
        """Plan the deletion. Raise a TenantryError if deletion_protection is on."""
        check_may_be_deleted(placed.namespace, placed.record)
        return cls(placed, delete.plan(placed.host, placed.desired.tenant, placed.desired.name))

    def execute(self, context: Context, deadline: Deadline, *, wait: bool) -> OperationResult:
        """Delete the virtual cluster. Return what was done, with the error if there was one."""
        diffs = [self.plan.diff()]
        return completed(
            lambda: OperationResult(self._delete(context, deadline if wait else None), diffs),
            lambda: OperationResult(self.plan.rows(), diffs),
        )

    def _delete(self, context: Context, deadline: Deadline | None) -> list[dict]:
        actions, path = self.plan.rows(), self.placed.desired.kubeconfig_path
        file = Path(path).expanduser() if path else None
        if file and os.path.lexists(file):
            actions.append({"action": "delete", "kind": "Kubeconfig", "name": path})
        if context.check_mode:
            return actions
        if self.plan.changed:
            delete.execute(self.plan, self.placed.host, self.placed.namespace, deadline)
        if file:
            kubeconfig_files.remove(file, "kubeconfig_path")
        return actions


@dataclass(frozen=True)
class LifecycleOperation(VClusterOperation):
    """Change fields of StatefulSets, and delete pods. Nothing else changes."""

    plan: lifecycle.LifecyclePlan

    def execute(self, context: Context, deadline: Deadline, *, wait: bool) -> OperationResult:
        """Execute the plan. Return what was done, with the error if there was one."""
        result = OperationResult(self.plan.rows(), [self.plan.diff()])
        return completed(lambda: self._perform(context, deadline if wait else None, result), lambda: result)

    def _perform(self, context: Context, deadline: Deadline | None, result: OperationResult) -> OperationResult:
        """Execute the plan. An interrupted pause may have no changes left, but pods to wait for."""
        if self.plan.warning:
            context.warn(self.plan.warning)
        if not context.check_mode:
            self.plan.perform(deadline)
        return result


class PausedOperation(LifecycleOperation):
    """Pause the virtual cluster."""

    @classmethod
    def of(cls, placed: PlacedVCluster, *, returns: bool) -> PausedOperation:
        return cls(lifecycle.plan_pause(placed.found, placed.namespace, returns=returns))


class ResumedOperation(LifecycleOperation):
    """Resume the virtual cluster."""

    @classmethod
    def of(cls, placed: PlacedVCluster) -> ResumedOperation:
        found, _sets = lifecycle.existing(placed.found, lifecycle.RESUMED, placed.namespace)
        return cls(lifecycle.plan_resume(found))


class RestartedOperation(LifecycleOperation):
    """Restart the virtual cluster."""

    @classmethod
    def of(cls, placed: PlacedVCluster) -> RestartedOperation:
        return cls(lifecycle.plan_restart(placed.found, placed.namespace, datetime.now(UTC)))


@dataclass(frozen=True)
class RotatedOperation(VClusterOperation):
    """k3s and etcd get other CAs, and the administrator's kubeconfig the new one."""

    placed: PlacedVCluster
    plan: ca_rotation.RotationPlan

    @classmethod
    def of(cls, placed: PlacedVCluster) -> RotatedOperation:
        older_than = placed.desired.rotate_older_than
        return cls(placed, ca_rotation.plan_rotation(placed.found, placed.namespace, older_than, clock()))

    def execute(self, context: Context, deadline: Deadline, *, wait: bool) -> OperationResult:
        context.secret(*self.plan.keys)
        result = OperationResult(self.plan.shown.rows(), [self.plan.shown.diff()])
        return completed(lambda: self._perform(context, deadline, result), lambda: result)

    def _perform(self, context: Context, deadline: Deadline, result: OperationResult) -> OperationResult:
        """In check mode, the API still answers with the CA of before."""
        if not context.check_mode:
            self.plan.perform(deadline)
        found = require(self.placed.found, f"the virtual cluster {self.placed.namespace}")
        api = connection.inside(found.host, found.namespace).limited(found.host.timeout)
        try:
            users = _users_with_access(api) if self.plan.actions else []
            kubeconfig = self._kubeconfig(context, api, connection.endpoint(found))
        finally:
            api.close()
        if users and not context.check_mode:
            context.warn(
                f"{found.namespace} has a new CA: kubeconfigs from before do not trust it. tenant_user (playbooks "
                f"onboard, site) writes those that it manages again. Users: {', '.join(users)}"
            )
        facts = {"outdated_kubeconfigs": users, "kubeconfig": self.placed.desired.kubeconfig_path}
        return replace(result, actions=[*result.actions, *kubeconfig], facts=facts)

    def _kubeconfig(self, context: Context, api: Cluster, url: str) -> list[dict]:
        path, desired = self.placed.desired.kubeconfig_path, self.placed.desired
        if path is None:
            return []
        labels = naming.labels("vcluster", tenant=desired.tenant, vcluster=desired.name)
        kubeconfig = AdministratorsKubeconfig(path, self.placed.namespace, labels)
        if not (context.check_mode and self.plan.actions) and kubeconfig.is_current(api, url):
            return []
        if not context.check_mode:
            context.secret(kubeconfig.renew(api, url))
        return [kubeconfig.action()]


def _users_with_access(api: Cluster) -> list[str]:
    """Return the tenant's users. Their kubeconfigs have the CA of before, wherever they are."""
    bindings = [one for kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING) for one in api.list(kind, selector=_OF_USERS)]
    # A binding for all users has no name on it, nor has one whose labels somebody inside took away.
    names = ((one["metadata"].get("labels") or {}).get(naming.LABEL_USER) for one in bindings)
    return sorted({name for name in names if name})
