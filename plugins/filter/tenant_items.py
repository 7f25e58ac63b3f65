# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Quotas, users or virtual clusters of many tenants as one flat list, as a module takes it in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.vars import merge_hash
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming

FILE_NAMES = {"users": "{name}.yaml", "vclusters": "{tenant}--{name}.yaml"}
KEYS = ("quotas", *FILE_NAMES)


def tenant_items(
    tenants: Iterable[Mapping[str, Any]],
    key: str,
    defaults: Mapping[str, Any] | None = None,
    directory: str = "",
) -> list[dict[str, Any]]:
    """Return the items of all tenants under `key`, each with its tenant. Raise an AnsibleFilterError for other keys."""
    if key not in KEYS:
        raise AnsibleFilterError(f"tenant_items: {key!r} is none of {', '.join(KEYS)}")
    if key == "quotas":
        return [_quota(tenant) for tenant in tenants]
    items = []
    for tenant in tenants:
        for item in tenant.get(key) or []:
            merged = merge_hash(dict(defaults or {}), dict(item), recursive=True) | {"tenant": tenant["name"]}
            if directory and not merged.get("kubeconfigs"):
                merged.setdefault("kubeconfig_path", f"{directory}/{_file_name(key, merged)}")
            elif key == "users" and not (merged.get("kubeconfigs") or merged.get("kubeconfig_path")):
                merged["kubeconfigs"] = [_in_secret(merged)]
            items.append(merged)
    return items


def _quota(tenant: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a tenant is its quota's item."""
    rest = {key: value for key, value in tenant.items() if key not in ("name", *FILE_NAMES)}
    return {"tenant": tenant["name"], **rest}


def _in_secret(user: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the kubeconfig that stays on the hub, so that every run, wherever it is, finds its tokens. Not in the Secret
    that self-service manages for the same user.
    """
    secret = {
        "namespace": naming.tenant_namespace(user["tenant"]),
        "name": f"inventory-kubeconfig-{user.get('name', '')}",
    }
    return {"name": "default", "secret": secret}


def _file_name(key: str, item: Mapping[str, Any]) -> str:
    """The modules validate the names before they write anything."""
    return FILE_NAMES[key].format(tenant=item["tenant"], name=item.get("name", ""))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"tenant_items": tenant_items}
