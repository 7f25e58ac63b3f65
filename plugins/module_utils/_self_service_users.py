# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How users get into what they asked for: the rights that are on record, and a kubeconfig that only its owner reads."""

from __future__ import annotations

import json

from ansible_collections.tenantry.kube.plugins.module_utils import _names, _users
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._places import user_of
from ansible_collections.tenantry.kube.plugins.module_utils._render_user import (
    ACCESS_ANNOTATION,
    HUB_ACCESS_ANNOTATION,
    OIDC_ANNOTATION,
    ROLE_ANNOTATION,
    own_secret,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_requests import Request

KUBECONFIG = "self-service"
LIFETIME = "30d"


def run(context: Context, accounts: list[dict]) -> list[dict]:
    return _users.run(context, [_item(account) for account in accounts])


def named(account: dict) -> dict:
    return {"tenant": account["metadata"]["labels"][_names.LABEL_TENANT], "name": user_of(account)}


def is_ours_to_let_in(account: dict, tenant: str) -> bool:
    """How people of an issuer log in is not on record: they get in by the next run of tenant_user."""
    annotations = account["metadata"].get("annotations") or {}
    return named(account)["tenant"] == tenant and OIDC_ANNOTATION not in annotations


def secret_of(accounts: list[dict], request: Request) -> str | None:
    """The Secret in the home namespace from which the requester takes the kubeconfig."""
    mine = {"tenant": request.tenant, "name": request.user}
    if any(named(account) == mine and _has_hub_access(account) for account in accounts):
        return own_secret(request.user)
    return None


def _item(account: dict) -> dict:
    """The user as the account says it was asked for, as an item of tenant_user, with one kubeconfig more."""
    who = named(account)
    annotations = account["metadata"].get("annotations") or {}
    access = json.loads(annotations.get(ACCESS_ANNOTATION) or "null")
    kubeconfig = {
        "name": KUBECONFIG,
        "state": "present" if _has_hub_access(account) else "absent",
        "secret": {"namespace": _names.tenant_namespace(who["tenant"]), "name": own_secret(who["name"])},
        "path": None,
        "vault_password_file": None,
        "lifetime": LIFETIME,
        "force": False,
    }
    return {
        **who,
        "state": "present",
        "role": annotations.get(ROLE_ANNOTATION),
        "access": None if access is None else [{"vcluster": name, "role": role} for name, role in access.items()],
        "oidc": None,
        "hub_access": _has_hub_access(account),
        "kubeconfig_path": None,
        "kubeconfigs": [kubeconfig],
        "purge_kubeconfigs": False,
        "lifetime": LIFETIME,
        "force": False,
    }


def _has_hub_access(account: dict) -> bool:
    return HUB_ACCESS_ANNOTATION in (account["metadata"].get("annotations") or {})
