# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The types that the steps of one item pass on: request, placed request, operation, result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import is_directory
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import rotation_age
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import MODES

PRESENT = "present"
ABSENT = "absent"


@dataclass(frozen=True)
class DesiredVCluster:
    """One item, validated as far as possible without the fleet."""

    tenant: str
    name: str
    state: str
    host: str | None  # as given. None: the host it is on, or the hub
    kubeconfig_path: str | None
    rotate_older_than: timedelta | None
    options: dict[str, Any] = field(repr=False)  # all of the item; some are secret

    @classmethod
    def of(cls, item: dict) -> DesiredVCluster:
        """Validate an item. Raise a TenantryError."""
        path = item["kubeconfig_path"]
        if path and is_directory(Path(path).expanduser()):
            raise TenantryError(f"kubeconfig_path: {path} is a directory. Name a file in it")
        older_than = rotation_age(item.get("rotate_older_than"))
        if item["state"] == PRESENT:
            _check_in_any_mode(item)
        tenant, name = naming.check_name(item["tenant"], "tenant"), naming.check_name(item["name"], "name")
        naming.vcluster_namespace(tenant, name)
        return cls(tenant, name, item["state"], item["host"], path, older_than, item)

    @property
    def item(self) -> dict[str, Any]:
        """The item as the runner passed it."""
        return self.options

    @property
    def namespace(self) -> str:
        return naming.vcluster_namespace(self.tenant, self.name)


def _check_in_any_mode(item: dict) -> None:
    """Raise errors of every possible mode. Without a mode, only the fleet tells which it is."""
    errors = []
    for mode in [item["mode"]] if item["mode"] else MODES:
        try:
            parse({**item, "mode": mode})
        except TenantryError as error:
            errors.append(str(error))
        else:
            return
    if len(set(errors)) == 1:
        raise TenantryError(errors[0])


@dataclass(frozen=True)
class PlacedVCluster:
    """A request with its host and the existing virtual cluster."""

    desired: DesiredVCluster
    host: Cluster
    found: VirtualCluster | None  # None: there is none yet
    record: VClusterRecord  # NO_RECORD if there is none yet

    @property
    def item(self) -> dict[str, Any]:
        return self.desired.item

    @property
    def namespace(self) -> str:
        return self.desired.namespace


@dataclass(frozen=True)
class Stopped:
    """Why nothing is done for a virtual cluster."""

    problem: str
    refused: bool  # because the request is invalid, so a retry does not help

    @classmethod
    def by(cls, problem: TenantryError | str) -> Stopped:
        """Return it for an error. A text is a problem of a cluster."""
        return cls(str(problem), not isinstance(problem, (Obstacle, str)))


@dataclass(frozen=True)
class OperationResult:
    """The result of an operation, for its row."""

    actions: list[dict]
    diffs: list[dict[str, str]]
    facts: dict[str, Any] = field(default_factory=dict)  # further keys of the row
    error: str = ""


class VClusterOperation(ABC):
    """A planned operation on one virtual cluster."""

    @abstractmethod
    def execute(self, context: Context, deadline: Deadline, *, wait: bool) -> OperationResult:
        """Execute the operation and, if `wait`, wait until it has taken effect; in check mode, only report.

        Steps that others depend on wait in any case. Errors are in the result.
        """


def completed(execute: Callable[[], OperationResult], so_far: Callable[[], OperationResult]) -> OperationResult:
    """Return the result of `execute` or, if it raises, the one of `so_far` with the error.

    Any exception counts, as in `attempt`: what was done by then is in the result.
    """
    problem, result = attempt(execute)
    return result if result is not None else replace(so_far(), error=problem or "")
