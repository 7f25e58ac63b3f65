# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual clusters that exist: their namespaces on hosts, and the record on each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster


@dataclass(frozen=True)
class Found:
    """A virtual cluster that exists."""

    host: Cluster
    namespace: dict

    @property
    def tenant(self) -> str:
        return self.namespace["metadata"]["labels"][naming.LABEL_TENANT]

    @property
    def name(self) -> str:
        return self.namespace["metadata"]["labels"][naming.LABEL_VCLUSTER]

    @property
    def record(self) -> VClusterRecord:
        return VClusterRecord.of(self.namespace)
