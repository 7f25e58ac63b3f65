# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On which nodes of the host servers and agents run, validated. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import OPERATORS, is_key, is_value

PREFERRED = "preferred"
REQUIRED = "required"
TOLERATION_KEYS = ("effect", "key", "operator", "tolerationSeconds", "value")
EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


@dataclass(frozen=True)
class Placement:
    """Scheduling options of a part."""

    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict, ...] = ()
    anti_affinity: str = PREFERRED
    runtime_class: str | None = None


def parse_placement(given: dict, option: str) -> Placement:
    """Validate the scheduling options. `option` is their prefix in errors."""
    selector = given.get("node_selector") or {}
    for key, value in selector.items():
        if not is_key(key) or not is_value(value):
            raise TenantryError(
                f"{option}.node_selector: {shown({key: value})} is not a node label. Set its name and value as text"
            )
    tolerations = given.get("tolerations") or []
    for one in tolerations:
        _check_toleration(one, f"{option}.tolerations")
    runtime_class = given.get("runtime_class")
    if runtime_class is not None and not naming.DNS_NAME.fullmatch(runtime_class):
        raise TenantryError(
            f"{option}.runtime_class: {shown(runtime_class)} is not the name of a RuntimeClass. Set one of the host's"
        )
    spread = given.get("anti_affinity") or PREFERRED
    return Placement(dict(selector), tuple(tolerations), spread, runtime_class)


def _check_toleration(given: dict, option: str) -> None:
    for key in given:
        if key not in TOLERATION_KEYS:
            raise TenantryError(
                f"{option}.{key}: is unknown{naming.did_you_mean(key, TOLERATION_KEYS)}; "
                f"known are {', '.join(TOLERATION_KEYS)}"
            )
    for key, known in (("operator", OPERATORS), ("effect", EFFECTS)):
        if given.get(key) not in (None, *known):
            raise TenantryError(f"{option}.{key}: must be {', '.join(known)}, not {shown(given[key])}")
    if not given.get("key") and given.get("operator") != "Exists":
        raise TenantryError(f"{option}: {shown(given)} has no key. Set one, or operator: Exists for all taints")
