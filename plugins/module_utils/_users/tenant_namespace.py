# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access of users to their tenant's namespace on the hub."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Inventory, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.hub_kubeconfig import server_for_users
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import VClusterAccess
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of


class TenantNamespaceAccess(VClusterAccess):
    """Access to the tenant namespace, where users create requests. It has the interface of VClusterAccess."""

    @classmethod
    def of(cls, hub: Cluster, tenant: str) -> TenantNamespaceAccess:
        name = naming.tenant_namespace(tenant)
        space = {"metadata": {"name": name, "labels": naming.labels("tenant", tenant=tenant)}}
        return cls(VirtualCluster(hub, space), server=server_for_users(hub.server), users_namespace=name)

    @property
    def vcluster(self) -> str:
        return naming.HUB  # no virtual cluster may be called so

    @property
    def context(self) -> str:
        return f"{self.tenant}--{self.vcluster}"

    @property
    def default_namespace(self) -> str:
        return self.users_namespace

    @property
    def where(self) -> str:
        return f"the namespace of tenant {self.tenant} on {self.host.name}"

    def prepare(self, users: set[str], revoked: Collection[str] = ()) -> None:
        """Do nothing: the plan for the hub has these rights."""
        self._inside, self._plan = self.host, Plan(self.host, [], Inventory())
        try:
            found = self.host.list(SECRET, self.users_namespace, naming.selector("user"))
        except TenantryError as error:
            self.problem = f"{self.where}: {error}"
            return
        self._secrets = [one for one in found if one.get("type") == bound_tokens.TYPE and user_of(one) in users]

    def close(self) -> None:
        """Keep the hub's connection open."""
