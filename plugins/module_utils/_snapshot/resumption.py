# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restore into a paused virtual cluster, which resumes it, takes its resources from the tenant's quota again."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import quota_return
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState


class Resumptions:
    """The promises for restores of one call."""

    def __init__(self, context: Context, places: FleetState, restored: Iterable[VirtualCluster]) -> None:
        self._context, self._places = context, places
        self._wanted = {
            one.namespace: Wanted(one.tenant, one.namespace, one.record.resources)
            for one in restored
            if one.record.paused is not None
        }
        problems = places.promise_each(self._wanted.values(), check_mode=context.check_mode)
        self.problems = {name: str(error) for name, error in problems.items()}

    def renew(self, namespace: str) -> None:
        """Let its promise, if it has one, last from now on. Raise an Obstacle if another run has taken it."""
        if namespace in self._wanted:
            self._places.quotas.renew(self._wanted[namespace].tenant, namespace)

    def settled(self, rows: list[dict]) -> list[dict]:
        """Note what has been restored, and return the rows. Of the others, the next run notes what they have."""
        self._places.settle_each(self._context, self._wanted, rows)
        return rows


def resume(found: VirtualCluster) -> VirtualCluster:
    """Let it have its resources again, before its pods start."""
    actions = quota_return.raising(found)  # some also if a pause or a resume was interrupted
    for action in actions:
        quota_return.execute(found.host, action)
    if not actions:
        return found
    namespace = found.host.get(NAMESPACE, found.namespace)
    return VirtualCluster(found.host, require(namespace, f"namespace {found.namespace}"))
