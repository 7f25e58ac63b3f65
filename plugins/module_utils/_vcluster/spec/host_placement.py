# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option placement: by what the host of a new virtual cluster is chosen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import (
    EXISTS,
    OPERATORS,
    Toleration,
    check_key,
    check_labels,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import WEIGHTS

OPTIONS: dict[str, dict] = {
    "match_labels": {"type": "dict"},
    "tolerations": {
        "type": "list",
        "elements": "dict",
        "options": {
            "key": {"type": "str", "no_log": False},
            "operator": {"type": "str", "choices": list(OPERATORS), "default": OPERATORS[0]},
            "value": {"type": "str"},
        },
    },
    "spread_by": {"type": "str"},
    "weights": {
        "type": "dict",
        "apply_defaults": True,
        "options": {name: {"type": "int", "default": weight} for name, weight in WEIGHTS.items()},
    },
}
HIGHEST_WEIGHT = 10


@dataclass(frozen=True)
class HostPlacement:
    """What a host must have, and what makes one better than another."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    spread_by: str | None = None
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))


def parse_host_placement(given: Mapping[str, Any] | None) -> HostPlacement | None:
    """Validate the option. Return None if it is not set. Raise a TenantryError."""
    if given is None:
        return None
    spread_by = given.get("spread_by")
    return HostPlacement(
        check_labels(given.get("match_labels") or {}, "placement.match_labels"),
        tuple(_toleration(one) for one in given.get("tolerations") or []),
        None if spread_by is None else check_key(spread_by, "placement.spread_by"),
        _weights(given.get("weights") or {}),
    )


def _toleration(given: Mapping[str, Any]) -> Toleration:
    found = Toleration.of(given)
    if not found.key and found.operator != EXISTS:
        raise TenantryError(
            f"placement.tolerations: {shown(dict(given))} has no key. Set one, or operator: Exists for all taints"
        )
    return found


def _weights(given: Mapping[str, Any]) -> dict[str, int]:
    weights = {name: usual if given.get(name) is None else given[name] for name, usual in WEIGHTS.items()}
    for name, weight in weights.items():
        if abs(weight) > HIGHEST_WEIGHT:
            raise TenantryError(
                f"placement.weights.{name}: {weight} is not between -{HIGHEST_WEIGHT} and {HIGHEST_WEIGHT}. Set a "
                "whole number in that range, 0 to ignore this score"
            )
    return weights
