# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Assign actions of a plan to users. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import resources
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import binding_name
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings as users_bindings


def user_of(obj: dict) -> str | None:
    """Return the user that an object's label names, or None."""
    return (obj["metadata"].get("labels") or {}).get(naming.LABEL_USER)


def administrator_of(action: Action) -> str:
    """Return the user whom this action takes the role admin from; empty for any other action."""
    user, role = binding_name(action.name)
    return user if (action.action, action.kind, role) == ("delete", resources.CLUSTER_ROLE_BINDING, "admin") else ""


def concerns(action: Action, user: str, first: bool, others: set[tuple[str, str]]) -> bool:
    """Return whether an action is for this user (also known as `others`) or, with `first`, for all."""
    if user in (binding_name(action.name)[0], action.kind == resources.SERVICE_ACCOUNT and action.name):
        return True
    obj = action.after or action.live
    owner = user_of(obj)
    if owner or naming.is_ours(obj):
        return owner == user or (first and owner is None)
    accounts = {(naming.PLATFORM_NAMESPACE, user), *others}
    return any(users_bindings.names(action.live, *account) for account in accounts)
