# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_user_info: who there is, what they may enter, which kubeconfigs they hold."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log as _audit_log
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ACCESS_ANNOTATION,
    OIDC_ANNOTATION,
    ROLE_ANNOTATION,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import role_name
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings as _bindings
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import (
    ACCOUNT,
    SECRET,
    Home,
    Place,
    find_places,
    user_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import kubeconfig_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel


@dataclass
class _Inside:
    """What one virtual cluster knows of users."""

    place: Place
    roles: dict[str, str] = field(default_factory=dict)
    secrets: list[dict] = field(default_factory=list)
    problem: str | None = None


def run(context: Context, tenant: str | None, name: str | None, audit_logs: list[str]) -> dict:
    for option, value in (("tenant", tenant), ("name", name)):
        if value is not None:  # a name that cannot exist is an error, not an empty answer
            _names.check_name(value, option)
    uses = _audit_log.last_uses(event for log in audit_logs for event in _audit_log.events(log, "audit_logs"))
    hub = context.hub
    _fleet.require_platform(hub)
    fleet = _fleet.hosts(hub, context.cluster)
    try:
        return look(fleet, tenant, name, uses)
    finally:
        fleet.close()


def look(fleet: _fleet.Fleet, tenant: str | None, name: str | None, uses: dict[str, str]) -> dict:
    hub = fleet.hub
    accounts = hub.list(ACCOUNT, selector=_names.selector("user", tenant=tenant, user=name))
    places, unreachable = find_places(fleet, None if tenant is None else {tenant})
    insides = hub.map(_look, places) + _homes(hub, tenant)
    rows = [_row(account, insides, uses) for account in accounts]
    rows.sort(key=lambda row: (row["tenant"], row["name"]))
    problems = {inside.place.context: inside.problem for inside in insides if inside.problem}
    return {"users": rows, "unreachable_members": unreachable, "unreachable_vclusters": problems}


def _look(place: Place) -> _Inside:
    found, selector = _Inside(place), _names.selector("user")
    try:
        api = _tunnel.inside(place.host, place.context)
    except TenantryError as error:
        found.problem = str(error)
        return found
    try:
        found.secrets = api.list(SECRET, _names.PLATFORM_NAMESPACE, selector)
        for binding in api.list(f"{_bindings.RBAC}/ClusterRoleBinding", selector=selector):
            if user := user_of(binding):
                found.roles[user] = binding["roleRef"]["name"].removeprefix(role_name(""))
    except TenantryError as error:
        found.problem = str(error)
    finally:
        api.close()
    return found


def _homes(hub: Cluster, tenant: str | None) -> list[_Inside]:
    """What users hold for the hub itself."""
    secrets: dict[str, list[dict]] = defaultdict(list)
    for secret in hub.list(SECRET, selector=_names.selector("user", tenant=tenant)):
        if secret.get("type") == _credentials.TYPE:
            secrets[secret["metadata"]["labels"][_names.LABEL_TENANT]].append(secret)
    return [_Inside(Home.of(hub, name), secrets=found) for name, found in sorted(secrets.items())]


def _row(account: dict, insides: list[_Inside], uses: dict[str, str]) -> dict:
    meta = account["metadata"]
    annotations = meta.get("annotations") or {}
    tenant, name = meta["labels"][_names.LABEL_TENANT], meta["labels"][_names.LABEL_USER]
    own = [inside for inside in insides if inside.place.tenant == tenant]
    return {
        "tenant": tenant,
        "name": name,
        "role": annotations.get(ROLE_ANNOTATION),
        "access": json.loads(annotations.get(ACCESS_ANNOTATION) or "null"),
        "oidc": annotations.get(OIDC_ANNOTATION),
        "created": meta["creationTimestamp"],
        "vclusters": [
            {"vcluster": inside.place.vcluster, "host": inside.place.host.name, "role": inside.roles[name]}
            for inside in own
            if name in inside.roles
        ],
        "credentials": [
            _credential(inside.place, secret, uses)
            for inside in own
            for secret in inside.secrets
            if user_of(secret) == name
        ],
    }


def _credential(place: Place, secret: dict, uses: dict[str, str]) -> dict:
    """What was written down when it was issued; a credential of an earlier release has less of it."""
    annotations = secret["metadata"].get("annotations") or {}
    credential = annotations.get(_credentials.ID_ANNOTATION)
    return {
        "kubeconfig": kubeconfig_of(secret),
        "vcluster": place.vcluster,
        "host": place.host.name,
        "issued": annotations.get(_credentials.ISSUED_ANNOTATION),
        "requested_by": annotations.get(_credentials.REQUESTER_ANNOTATION),
        "expires": annotations.get(_credentials.EXPIRES_ANNOTATION),
        "expired": _credentials.outlived(secret, time.time()),
        "secret": secret["metadata"]["name"],
        "credential_id": credential,
        "last_used": uses.get(credential or ""),
    }
