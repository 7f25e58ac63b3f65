# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users for one virtual cluster, by the answer of a survey."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

FIELD = "tenantry_users"
ROLES = ("viewer", "developer", "admin")
DEFAULT_ROLE = "developer"


def survey_users(
    answer: str | Iterable[str], vcluster: str, known: Iterable[Mapping[str, Any]] = (), but: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return items for tenant_user, each limited to the virtual cluster.

    `known` are the tenant's users by tenant_user_info: one with access already stays as they are. The names in `but`
    are left out. Raise an AnsibleFilterError for the first answer that is invalid.
    """
    by_name, left_out = {user["name"]: user for user in known}, set(but)
    entries = re.split(r"[,\s]+", answer) if isinstance(answer, str) else list(answer)
    try:
        users = [_user(entry, vcluster) for entry in entries if entry]
        if twice := naming.first_twice([user["name"] for user in users]):
            raise TenantryError(f"{FIELD}: {shown(twice)} is given twice. Give each once")
        return [user for user in users if user["name"] not in left_out and _is_due(user, by_name.get(user["name"]))]
    except TenantryError as error:
        raise AnsibleFilterError(str(error)) from None


def _user(entry: object, vcluster: str) -> dict[str, Any]:
    name, _colon, role = str(entry).strip().partition(":")
    role = role.strip() or DEFAULT_ROLE
    if role not in ROLES:
        raise TenantryError(f"{FIELD}: {shown(entry)} has no role of {', '.join(ROLES)}. Write it like alice:viewer")
    return {"name": naming.check_name(name.strip(), FIELD), "role": role, "access": [{"vcluster": vcluster}]}


def _is_due(user: dict[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Return whether a run has to manage the user: a new one, or one that a run of this kind created."""
    if known is None:
        return True
    vcluster = user["access"][0]["vcluster"]
    if known["access"] and vcluster not in known["access"]:
        raise TenantryError(
            f"{FIELD}: {user['name']} exists and may enter {', '.join(known['access'])} only. Add the user to the "
            f"inventory, with access to {vcluster}"
        )
    on_hub = any(credential["vcluster"] == naming.HUB for credential in known["credentials"])
    return known["access"] == {vcluster: user["role"]} and not known["oidc"] and not on_hub


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"survey_users": survey_users}
