# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sample: what the fleet provides and what virtual clusters take of it at one time. Cores, bytes, pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

NOTHING = Decimal(0)


@dataclass(frozen=True)
class Amounts:
    """Cores of CPU and bytes of memory."""

    cpu: Decimal = NOTHING
    memory: Decimal = NOTHING

    def larger(self, other: Amounts | None) -> Amounts:
        """Return the larger amount of each."""
        if other is None:
            return self
        return Amounts(max(self.cpu, other.cpu), max(self.memory, other.memory))

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(self.cpu + other.cpu, self.memory + other.memory)


@dataclass(frozen=True)
class VClusterSample:
    """What one virtual cluster takes. In the terms of Kubernetes, `requested` and `limited` are sums over its pods."""

    tenant: str
    name: str
    cluster: str  # of the fleet
    tier: str
    mode: str
    status: str
    created: datetime
    promised: Amounts
    requested: Amounts
    limited: Amounts
    used: Amounts | None  # None: not measured
    promised_storage: Decimal = NOTHING
    # What it has while it is awake, by resource: more than promised if it is paused. None: its record cannot be read.
    resources: Mapping[str, Decimal] | None = None
    storage: Decimal = NOTHING
    pods: Decimal = NOTHING
    node_ports: Decimal = NOTHING
    load_balancers: Decimal = NOTHING
    platform: Amounts = Amounts()  # of what is requested: by the platform's own pods, such as the control plane
    extended: Mapping[str, Decimal] = field(default_factory=dict)
    version: str | None = None
    message: str | None = None
    expires: datetime | None = None
    certificates_valid_until: datetime | None = None
    idle_since: datetime | None = None
    snapshot: datetime | None = None
    external_datastore: bool = False  # which has backups of its own
    deletion_protection: bool = False
    sleep: Mapping[str, Any] | None = None  # the option, as recorded

    @property
    def allocated(self) -> Amounts:
        """The larger of request and use, as the OpenCost specification defines an allocation."""
        return self.requested.larger(self.used)

    @property
    def gpus(self) -> Decimal:
        return gpus_in(self.extended)


@dataclass(frozen=True)
class ClusterSample:
    """What one cluster of the fleet provides. `unmeasured` says why it reports no use, if so."""

    name: str
    version: str
    nodes: int
    capacity: Amounts
    allocatable: Amounts
    used: Amounts | None
    gpus: Decimal = NOTHING
    unmeasured: str = ""
    credential_expires: datetime | None = None


@dataclass(frozen=True)
class TenantSample:
    """A tenant on record. `quota` has cores, bytes and pieces by resource."""

    name: str
    display_name: str
    quota: Mapping[str, Decimal]
    created: datetime


@dataclass(frozen=True)
class Sample:
    """The fleet at one time. `missing` has the reason for each cluster that did not answer."""

    time: datetime
    clusters: tuple[ClusterSample, ...]
    vclusters: tuple[VClusterSample, ...]
    tenants: tuple[TenantSample, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    def of_cluster(self, name: str) -> tuple[VClusterSample, ...]:
        return tuple(one for one in self.vclusters if one.cluster == name)


def gpus_in(resources: Mapping[str, Decimal]) -> Decimal:
    """Return the number of GPUs among extended resources, such as `nvidia.com/gpu`."""
    return sum((amount for name, amount in resources.items() if "gpu" in name), NOTHING)
