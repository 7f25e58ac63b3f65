# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Translate events of an API server's audit log into rows about tenants. Pure.

Logs of level Metadata have no content, so everything is read from names, which only the platform composes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import (
    FIELD_MANAGER,
    HUB,
    PLATFORM_NAMESPACE,
    PROMISES_MANAGER,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.member_manifests import ACCOUNT
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.audit_log import ISSUED_ID
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import ADMINISTRATOR
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import BEFORE, STAGES
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import PLATFORM_USER

# The platform's own tools make such accesses too; is_platforms() distinguishes them.
ACCESS = "access"
_PERSON = f"system:serviceaccount:{PLATFORM_NAMESPACE}:"
MASTERS = "system:masters"
# On a host. Inside a virtual cluster its administrators can be anybody: a certificate or a token of such a name proves
# nothing there, so the actor of each event here is named.
_MACHINES = re.compile(
    r"system:(apiserver|kube-controller-manager|kube-scheduler|kube-proxy|k3s-(controller|supervisor)|node:.*"
    r"|serviceaccount:kube-system:.*|serviceaccount:[^:]*--[^:]*:.*)"
)
# A token of an account here lets its holder act as a machine, whose requests are not reported.
_OF_MACHINES = {"kube-system", PLATFORM_NAMESPACE}
_ENTRANCES = {"attach", "ephemeralcontainers", "exec", "portforward", "proxy"}
_READ = {"get", "list", "watch"}
# Accesses repeated within so many seconds are one row with a count.
_TOGETHER = 600
_REPEATED = {ACCESS, "snapshot"}


Manages = Callable[[dict], bool]  # whether a user of the hub's log may manage the platform


def row(cluster: str, event: dict, manages: Manages = lambda user: False) -> dict | None:
    """Return the report row of an audit event, or None if the event is not about a tenant.

    `cluster` is the name of the host, or the namespace of a virtual cluster. `manages` says whether a user of the hub
    may manage the platform.
    """
    status = (event.get("responseStatus") or {}).get("code", 0)
    user = (event.get("user") or {}).get("username", "")
    inside = "--" in cluster
    if not 100 <= status < 300 or (not inside and _MACHINES.fullmatch(user)):
        return None
    ours = _is_ours(cluster, event, manages)
    described = _inside(cluster, event, user, ours) if inside else _on_host(event, ours)
    if described is None:
        return None
    kind, tenant, name, action = described
    # Administrators of a virtual cluster choose names in it, so line breaks in names are removed.
    tool = one_line(event.get("userAgent") or "")
    return {
        "time": f"{(event.get('requestReceivedTimestamp') or '')[:19]}Z",
        "cluster": cluster,
        "tenant": tenant,
        "actor": one_line(user.removeprefix(_PERSON) if inside else user),
        "acted_as": _impersonated(event),
        # The hub authenticates the requester; elsewhere the platform names it, and only the platform is believed.
        "requested_by": (tool.partition(f"{FIELD_MANAGER} for ")[2] or None) if ours and cluster != HUB else None,
        "action": action,
        "kind": kind,
        "name": one_line(name),
        "tool": tool.partition(" ")[0],
        "platform": ours,
        "credential_id": (event.get("annotations") or {}).get(ISSUED_ID),
        "source": "log",
        "count": 1,
    }


def _is_ours(cluster: str, event: dict, manages: Manages) -> bool:
    """Return whether the platform made the request: by its user agent, which anyone can send, and its credential.

    On the hub, playbooks use the credential of their user, who must be able to manage the platform.
    """
    user = event.get("user") or {}
    if not (event.get("userAgent") or "").startswith(FIELD_MANAGER) or event.get("impersonatedUser"):
        return False
    if cluster == HUB:
        return manages(user)
    if "--" in cluster:  # a certificate signed there can have the name, but not that group
        return user.get("username") == PLATFORM_USER and MASTERS in (user.get("groups") or [])
    return user.get("username") == f"{_PERSON}{ACCOUNT}"


def _impersonated(event: dict) -> str | None:
    """Return the impersonated identity (kubectl --as, --as-group, --as-uid), or an empty string."""
    other = event.get("impersonatedUser")
    if not other:
        return None
    groups = [group for group in other.get("groups") or [] if group != "system:authenticated"]
    more = [f"uid {other['uid']}"] if other.get("uid") else []
    more += [f"groups {', '.join(groups)}"] if groups else []
    more += [f"extra {', '.join(sorted(other['extra']))}"] if other.get("extra") else []
    name = other.get("username") or "nobody"
    return one_line(f"{name} ({'; '.join(more)})" if more else name)


def _on_host(event: dict, ours: bool) -> tuple[str, str | None, str, str] | None:
    reference = event.get("objectRef") or {}
    resource, space, name = (reference.get(key) or "" for key in ("resource", "namespace", "name"))
    action, below = _action(event), reference.get("subresource")
    tenant, inner = _parts(name if resource == "namespaces" else space)
    if tenant is not None and inner and (entered := _entered(event, tenant, inner, ours)):
        return entered
    if resource == "secrets" and not space and event.get("verb") in _READ:
        return ACCESS, None, "secrets of all namespaces", event["verb"]
    if below == "token" and space in _OF_MACHINES:
        return ACCESS, None, f"{resource}/{space}/{name}", below
    if action is None or below not in (None, "scale"):
        return None
    if inner:
        found = {"namespaces": "vcluster", "resourcequotas": "resources", "statefulsets": "vcluster"}.get(resource)
        of_pods = resource == "resourcequotas" and name != VCLUSTER_QUOTA  # changes with the resources
        if found is None or of_pods or (resource == "statefulsets" and action != "changed"):
            return None
        return found, tenant, f"{tenant}/{inner}", action
    if tenant:
        return _of_tenant(event, resource, tenant, name, action)
    if resource == "clusterrolebindings" and name.startswith("tenantry:") and name.count(":") == 3:
        _ours, tenant, user, role = name.split(":")
        return "role", tenant, f"{user}: {role}", _granted(action)
    if resource == "secrets" and space == PLATFORM_NAMESPACE and name.startswith("member-"):
        return "member", None, name.removeprefix("member-"), action
    return None


def _of_tenant(event: dict, resource: str, tenant: str, name: str, action: str) -> tuple[str, str, str, str] | None:
    """In the tenant namespace of a tenant."""
    if resource == "namespaces":
        return "tenant", tenant, tenant, action
    if resource == "configmaps" and name == RECORD:
        query = parse_qs(urlsplit(event.get("requestURI") or "").query)
        return "promise" if query.get("fieldManager") == [PROMISES_MANAGER] else "quota", tenant, tenant, action
    if resource == "serviceaccounts" and name != "default":
        return "user", tenant, name, action
    if resource == "rolebindings" and name.startswith("tenantry:"):
        return "role", tenant, ": ".join(name.split(":")[1:]), _granted(action)
    return None


def _inside(cluster: str, event: dict, user: str, ours: bool) -> tuple[str, str | None, str, str] | None:
    """Describe an event in a virtual cluster: access that was granted, and uses of administrators' kubeconfigs."""
    reference = event.get("objectRef") or {}
    resource, space, name = (reference.get(key) or "" for key in ("resource", "namespace", "name"))
    action, below = _action(event), reference.get("subresource")
    tenant, _sep, inner = cluster.partition("--")
    where = f"{tenant}/{inner}"
    if space == PLATFORM_NAMESPACE and action:
        if resource == "serviceaccounts" and below == "token":
            kind = ACCESS if name == ADMINISTRATOR else "credential"
            return kind, tenant, f"{where} {name}", "issued"
        if resource == "secrets" and action == "deleted":
            return "credential", tenant, f"{where} {name}", "revoked"
        if resource == "serviceaccounts" and not below and name not in ("default", ADMINISTRATOR):
            return "user", tenant, f"{where} {name}", action
    if resource == "clusterrolebindings" and name.startswith("tenantry:") and name.count(":") == 2 and action:
        _ours, who, role = name.split(":")
        return "role", tenant, f"{where} {who}: {role}", _granted(action)
    if not ours and user in (f"{_PERSON}{ADMINISTRATOR}", "system:admin"):
        return ACCESS, tenant, f"{where} {'/'.join(filter(None, (resource, below, space, name)))}", event["verb"]
    return None


def _action(event: dict) -> str | None:
    """Return the action for the verb. An apply that changed nothing has the status 200."""
    verb, status = event.get("verb", ""), event["responseStatus"]["code"]
    if verb in ("patch", "update", "apply"):
        return "created" if status == 201 else "changed"
    return {"create": "created", "delete": "deleted", "deletecollection": "deleted"}.get(verb)


def _granted(action: str) -> str:
    return {"created": "granted", "deleted": "withdrawn"}.get(action, action)


def _entered(event: dict, tenant: str, inner: str, ours: bool) -> tuple[str, str, str, str] | None:
    """Describe access to the control plane of a virtual cluster, by its pods or by their content."""
    reference, verb = event["objectRef"], event["verb"]
    resource, below = reference.get("resource"), reference.get("subresource")
    if below == "exec" and ours and (done := _snapshot(event)):
        return "snapshot", tenant, f"{tenant}/{inner}{done[1]}", done[0]
    entrance = resource in ("pods", "services") and below in _ENTRANCES
    if entrance or below == "token" or (resource == "secrets" and verb in _READ):
        what = "/".join(filter(None, (resource, reference.get("name"))))
        return ACCESS, tenant, f"{tenant}/{inner} {what}", below or verb
    return None


def _snapshot(event: dict) -> tuple[str, str] | None:
    """Describe a snapshot or restore by its commands in the server's pod, which the log records."""
    words = parse_qs(urlsplit(event.get("requestURI") or "").query).get("command") or [""]
    if words[-1].startswith(STAGES):
        return "taken", f" {words[-1].removeprefix(STAGES)}"
    return ("restored", "") if words[-1] == BEFORE else None


def _parts(namespace: str) -> tuple[str | None, str | None]:
    """Return the tenant of a namespace, and the virtual cluster if it belongs to one."""
    tenant, separator, inner = namespace.partition("--")
    if separator:
        return tenant, inner
    return naming.tenant_of(namespace), None


def is_platforms(found: dict) -> bool:
    """Return whether the row is an access that playbooks make in every run."""
    return found["kind"] == ACCESS and bool(found["platform"])


def together(rows: Iterable[dict]) -> list[dict]:
    """Return the rows in order of time, with repeated events in one row."""
    kept: list[dict] = []
    last: dict[tuple, tuple[dict, float]] = {}
    for one in sorted(rows, key=lambda one: one["time"]):
        key = tuple(
            one[part] for part in ("cluster", "actor", "acted_as", "requested_by", "action", "kind", "name", "tool")
        )
        moment = datetime.fromisoformat(one["time"]).timestamp()
        first, seen = last.get(key, (None, 0.0))
        if first and (one["kind"] in _REPEATED or one["action"] == "changed") and moment - seen <= _TOGETHER:
            first["count"] += 1
            last[key] = first, moment
        else:
            kept.append(one)
            last[key] = one, moment
    return kept
