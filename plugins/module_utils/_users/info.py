# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_user_info: users, their access and their credentials."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log, bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    OIDC_ANNOTATION,
    ROLE_ANNOTATION,
    OnRecord,
    access_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import role_name
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings as users_findings
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import VClusterAccess, find_accessible
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import kubeconfig_of
from ansible_collections.tenantry.kube.plugins.module_utils._users.tenant_namespace import TenantNamespaceAccess
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal, connection


@dataclass
class _VClusterUsers:
    """The users in one virtual cluster."""

    place: VClusterAccess
    roles: dict[str, str] = field(default_factory=dict)
    secrets: list[dict] = field(default_factory=list)
    findings: list[users_findings.Finding] = field(default_factory=list)
    more: int = 0  # findings
    problem: str | None = None


def run(context: Context, tenant: str | None, name: str | None, audit_logs: list[str], findings: bool) -> dict:
    """Validate the options and return the result of tenant_user_info."""
    for option, value in (("tenant", tenant), ("name", name)):
        if value is not None:  # an invalid name is an error, not an empty result
            naming.check_name(value, option)
    uses = audit_log.last_uses(event for log in audit_logs for event in audit_log.events(log, "audit_logs"))
    with registry.open_fleet(context) as fleet:
        return look(fleet, tenant, name, uses, findings=findings)


def look(
    fleet: registry.Fleet, tenant: str | None, name: str | None, uses: dict[str, str], *, findings: bool = False
) -> dict:
    """Return users and, if asked for, findings. `uses` has the last use of credentials by id."""
    hub = fleet.hub
    every = hub.list(SERVICE_ACCOUNT, selector=naming.selector("user", tenant=tenant))
    users: dict[str, list[OnRecord]] = defaultdict(list)
    for account in every:
        users[account["metadata"]["labels"][naming.LABEL_TENANT]].append(OnRecord.of(account))
    places, unreachable = find_accessible(fleet, None if tenant is None else {tenant})
    known = [(place, users[place.tenant] if findings else None) for place in places]
    insides = run_concurrently(lambda one: _look(*one), known) + _in_tenant_namespaces(hub, tenant)
    rows = [_row(account, insides, uses) for account in every if name in (None, user_of(account))]
    rows.sort(key=lambda row: (row["tenant"], row["name"]))
    problems = {inside.place.context: inside.problem for inside in insides if inside.problem}
    return {
        "users": rows,
        "findings": [_finding(inside.place, one) for inside in insides for one in inside.findings],
        "findings_left_out": {inside.place.context: inside.more for inside in insides if inside.more},
        "unreachable_members": unreachable,
        "unreachable_vclusters": problems,
    }


def _finding(place: VClusterAccess, found: users_findings.Finding) -> dict:
    return {"tenant": place.tenant, "vcluster": place.vcluster, "host": place.host.name, **found}


def _look(place: VClusterAccess, users: list[OnRecord] | None) -> _VClusterUsers:
    """Read one virtual cluster, with its findings if `users` are given."""
    found = _VClusterUsers(place)
    found.problem, _nothing = attempt(lambda: _read(found, users))
    return found


def _read(found: _VClusterUsers, users: list[OnRecord] | None) -> None:
    place, selector = found.place, naming.selector("user")
    api = connection.inside(place.host, place.context).limited(place.host.timeout)
    try:
        found.secrets = api.list(SECRET, naming.PLATFORM_NAMESPACE, selector)
        for binding in api.list(CLUSTER_ROLE_BINDING, selector=selector):
            if user := user_of(binding):
                found.roles[user] = binding["roleRef"]["name"].removeprefix(role_name(""))
        if users is not None:
            secret = client_ca_renewal.find(place.host, place.context)
            found.findings, found.more = place.find(api, users, secret, client_ca_renewal.certificate(secret))
    finally:
        api.close()


def _in_tenant_namespaces(hub: Cluster, tenant: str | None) -> list[_VClusterUsers]:
    """Return the credentials for the hub itself."""
    secrets: dict[str, list[dict]] = defaultdict(list)
    for secret in hub.list(SECRET, selector=naming.selector("user", tenant=tenant)):
        if secret.get("type") == bound_tokens.TYPE:
            secrets[secret["metadata"]["labels"][naming.LABEL_TENANT]].append(secret)
    return [
        _VClusterUsers(TenantNamespaceAccess.of(hub, name), secrets=found) for name, found in sorted(secrets.items())
    ]


def _row(account: dict, insides: list[_VClusterUsers], uses: dict[str, str]) -> dict:
    meta = account["metadata"]
    annotations = meta.get("annotations") or {}
    tenant, name = meta["labels"][naming.LABEL_TENANT], meta["labels"][naming.LABEL_USER]
    own = [inside for inside in insides if inside.place.tenant == tenant]
    return {
        "tenant": tenant,
        "name": name,
        "role": annotations.get(ROLE_ANNOTATION),
        "access": access_of(annotations),
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


def _credential(place: VClusterAccess, secret: dict, uses: dict[str, str]) -> dict:
    """Return the credential as recorded at its issue. Those of earlier releases have fewer fields."""
    annotations = secret["metadata"].get("annotations") or {}
    credential = annotations.get(bound_tokens.ID_ANNOTATION)
    return {
        "kubeconfig": kubeconfig_of(secret),
        "vcluster": place.vcluster,
        "host": place.host.name,
        "issued": annotations.get(bound_tokens.ISSUED_ANNOTATION),
        "requested_by": annotations.get(bound_tokens.REQUESTER_ANNOTATION),
        "expires": annotations.get(bound_tokens.EXPIRES_ANNOTATION),
        "expired": bound_tokens.outlived(secret, time.time()),
        "secret": secret["metadata"]["name"],
        "credential_id": credential,
        "last_used": uses.get(credential or ""),
    }
