# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations of the states absent, paused and restarted. That of present is in apply.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import delete, lifecycle
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import (
    OperationResult,
    PlacedVCluster,
    VClusterOperation,
    completed,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import check_may_be_deleted


@dataclass(frozen=True)
class AbsentOperation(VClusterOperation):
    """The namespace is deleted, and the kubeconfig file of the administrator."""

    placed: PlacedVCluster
    plan: Plan

    @classmethod
    def of(cls, placed: PlacedVCluster) -> AbsentOperation:
        check_may_be_deleted(placed.namespace, placed.record)
        return cls(placed, delete.plan(placed.host, placed.desired.tenant, placed.desired.name))

    def execute(self, context: Context, deadline: Deadline) -> OperationResult:
        diffs = [self.plan.diff()]
        return completed(
            lambda: OperationResult(self._delete(context, deadline), diffs),
            lambda: OperationResult(self.plan.rows(), diffs),
        )

    def _delete(self, context: Context, deadline: Deadline) -> list[dict]:
        actions, path = self.plan.rows(), self.placed.desired.kubeconfig_path
        file = Path(path).expanduser() if path else None
        if file and file.exists():
            actions.append({"action": "delete", "kind": "Kubeconfig", "name": path})
        if context.check_mode:
            return actions
        if self.plan.changed:
            waiting = deadline if context.module.params["wait"] else None
            delete.execute(self.plan, self.placed.host, self.placed.namespace, waiting)
        if file:
            file.unlink(missing_ok=True)
        return actions


@dataclass(frozen=True)
class LifecycleOperation(VClusterOperation):
    """Fields of StatefulSets change, and pods end. All else stays as it is."""

    plan: lifecycle.LifecyclePlan

    def execute(self, context: Context, deadline: Deadline) -> OperationResult:
        result = OperationResult(self.plan.rows(), [self.plan.diff()])
        return completed(lambda: self._perform(context, deadline, result), lambda: result)

    def _perform(self, context: Context, deadline: Deadline, result: OperationResult) -> OperationResult:
        """A pause that was interrupted has nothing left to change but may have pods to wait for."""
        if self.plan.warning:
            context.warn(self.plan.warning)
        if not context.check_mode:
            self.plan.perform(deadline if context.module.params["wait"] else None)
        return result


class PausedOperation(LifecycleOperation):
    @classmethod
    def of(cls, placed: PlacedVCluster) -> PausedOperation:
        return cls(lifecycle.plan_pause(placed.found, placed.namespace))


class RestartedOperation(LifecycleOperation):
    @classmethod
    def of(cls, placed: PlacedVCluster) -> RestartedOperation:
        return cls(lifecycle.plan_restart(placed.found, placed.namespace, datetime.now(UTC)))
