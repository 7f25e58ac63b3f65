# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of a virtual cluster: an annotation on its namespace, for later runs. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError, shown

SPEC_ANNOTATION = "tenantry.dev/spec"
# 0: without a format, by releases before this key. 1: fields renamed.
FORMAT = 1
_RENAMED = {"slice": "resources", "expires": "ttl"}
# So that sums of many stay below what quantities can be.
_TOO_LARGE = 10**21
# Written only if they are set, so that the record of a virtual cluster without them stays as it is.
_WITHOUT_NULL = frozenset({"expose", "mode", "oidc", "paused", "persistence", "request", "tier", "version", "volume"})


@dataclass(frozen=True)
class VClusterRecord:
    """The options of a virtual cluster as the last run applied them, without secrets.

    None means not set, or not known to the release that wrote the record.
    """

    address: str = ""
    agents: int = 0
    cluster_cidr: str | None = None
    datastore: str | None = None  # None: SQLite
    deletion_protection: bool = False
    expose: str | None = None
    mode: str | None = None
    oidc: dict | None = None
    paused: dict | None = None  # while it is: what it has of the quota, where that is not its `resources`
    persistence: str | None = None
    request: dict | None = None  # of a tenant's user, for the virtual cluster
    resources: dict = field(default_factory=dict)
    servers: int = 1
    service_cidr: str | None = None
    sleep: dict | None = None
    storage_class: str | None = None
    tier: str | None = None
    ttl: str | None = None
    version: str | None = None
    volume: str | None = None

    @classmethod
    def of(cls, namespace: dict) -> VClusterRecord:
        """Read the record from a Namespace. Return NO_RECORD if it is missing or not a JSON object."""
        raw = _parsed(written_on(namespace))
        if not raw:
            return NO_RECORD
        known = {one: value for one, value in _upgraded(raw, namespace).items() if one in _TYPES and value is not None}
        for name, value in known.items():
            if not isinstance(value, _TYPES[name]):
                raise _unreadable(namespace, f"the field {name} is of a wrong type ({type(value).__name__})")
        record = cls(**known)
        for name, amount in [*record.resources.items(), *(record.paused or {}).items()]:
            if not _is_quantity(amount):
                raise _unreadable(namespace, f"the field resources.{name} is not a quantity ({shown(amount)})")
        return record

    @property
    def counted(self) -> dict[str, str]:
        """What counts against the tenant's quota: its resources, or less while it is paused."""
        return {**self.resources, **(self.paused or {})}

    def as_text(self, before: str = "") -> str:
        """Return the annotation. Keep `before`, the existing one, if only its format is older."""
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        record = {name: value for name, value in record.items() if value is not None or name not in _WITHOUT_NULL}
        if before and _renamed(_parsed(before)) == record:
            return before
        return json.dumps({**record, "format": FORMAT}, sort_keys=True)


NO_RECORD = VClusterRecord()
_TYPES: dict[str, Any] = get_type_hints(VClusterRecord)


def _is_quantity(amount: object) -> bool:
    try:
        return quantities.parse(amount, "resources") < _TOO_LARGE
    except TenantryError:
        return False


def _unreadable(namespace: dict, problem: str) -> Obstacle:
    return Obstacle(
        f"{_where(namespace)}: {problem}. Remove the annotation, then run tenantry.kube.vcluster with state: present "
        "and the mode of that virtual cluster"
    )


def _upgraded(raw: dict, namespace: dict) -> dict:
    """Convert the fields of an earlier format. Add a step here for each new format."""
    written = raw.get("format", 0)
    if not isinstance(written, int) or written > FORMAT:
        raise Obstacle(
            f"{_where(namespace)}: has format {written}, and this release of tenantry.kube reads formats up to "
            f"{FORMAT}. Use the newer release that wrote it"
        )
    return raw if written else _renamed(raw)


def _renamed(raw: dict) -> dict:
    return {_RENAMED.get(name, name): value for name, value in raw.items()}


def written_on(namespace: dict) -> str:
    """Return the annotation of a Namespace, or an empty string."""
    return (namespace["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION, "")


def _parsed(text: str) -> dict:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):  # the administrator of a member can write anything there
        return {}
    return raw if isinstance(raw, dict) else {}


def _where(namespace: dict) -> str:
    return f"annotation {SPEC_ANNOTATION} of namespace {namespace['metadata'].get('name', '')}"
