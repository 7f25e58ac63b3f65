# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual clusters that exist: the namespaces on hosts, with the record on each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD, VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster


def is_virtual_cluster(namespace: dict) -> bool:
    """Return whether the platform may have created it. The administrator of a member can label any namespace."""
    labels = namespace["metadata"]["labels"]
    tenant, name = (labels.get(label, "") for label in (naming.LABEL_TENANT, naming.LABEL_VCLUSTER))
    return namespace["metadata"]["name"] == naming.joined(tenant, name)


@dataclass(frozen=True)
class VirtualCluster:
    """A virtual cluster that exists: its Namespace, as read from its host."""

    host: Cluster
    namespace_object: dict

    @property
    def namespace(self) -> str:
        return self.namespace_object["metadata"]["name"]

    @property
    def tenant(self) -> str:
        return self.namespace_object["metadata"]["labels"][naming.LABEL_TENANT]

    @property
    def name(self) -> str:
        return self.namespace_object["metadata"]["labels"][naming.LABEL_VCLUSTER]

    @property
    def annotations(self) -> dict[str, str]:
        return self.namespace_object["metadata"].get("annotations") or {}

    @property
    def created(self) -> str:
        return self.namespace_object["metadata"]["creationTimestamp"]

    @property
    def is_deleting(self) -> bool:
        return bool(self.namespace_object["metadata"].get("deletionTimestamp"))

    @cached_property
    def record(self) -> VClusterRecord:
        """The record. Raises an Obstacle if this release cannot read it."""
        return VClusterRecord.of(self.namespace_object)

    @property
    def record_problem(self) -> str:
        """Why this release cannot read the record, or an empty string."""
        try:
            VClusterRecord.of(self.namespace_object)
        except Obstacle as error:
            return str(error)
        return ""

    @property
    def readable_record(self) -> VClusterRecord:
        """The record, or NO_RECORD if this release cannot read it: for flows over many virtual clusters."""
        try:
            return self.record
        except Obstacle:
            return NO_RECORD
