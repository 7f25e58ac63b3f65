# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the snapshot modules that apply to a whole call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.directory_store import Directory
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.s3_store import Bucket
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store


@dataclass(frozen=True)
class StoreOptions:
    """Where snapshots are stored: a directory, or a bucket with its options."""

    directory: str | None
    bucket: dict[str, Any] | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> StoreOptions:
        return cls(params["directory"], params["bucket"])

    def store(self) -> Store:
        """Open the store. Raise a TenantryError unless exactly one is set."""
        if self.directory is not None and self.bucket is None:
            return Directory(self.directory)
        if self.directory is None and self.bucket is not None:
            return Bucket(**self.bucket)
        raise TenantryError("directory, bucket: set one of the two, where snapshots are stored")


@dataclass(frozen=True)
class SnapshotOptions:
    """Options of vcluster_snapshot."""

    place: StoreOptions
    passphrase: str | None = field(repr=False)
    wait_timeout: int  # seconds

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> SnapshotOptions:
        return cls(StoreOptions.of(params), params["passphrase"], params["wait_timeout"])
