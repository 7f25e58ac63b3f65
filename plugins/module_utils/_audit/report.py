# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module audit_info: what API servers wrote down, and what objects say of themselves."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._audit import events as _audit_rows
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log as _audit_log
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as _exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._users import info as _user_info
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import CONTAINER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import DATA_DIRECTORY

# What people do with their own kubeconfigs stays where it is: the log of a virtual cluster may be long.
_READ_LOG = f"""\
cd {DATA_DIRECTORY}/server/logs || exit 0
for file in audit*.log; do
  [ -e "$file" ] || continue
  grep -hE '"namespace":"tenantry-system"|"resource":"clusterrolebindings"|"username":"system:(admin"|serviceaccount:tenantry-system:platform-admin")' "$file" || [ $? -eq 1 ]
done
"""  # noqa: E501 - a line of the script


@dataclass
class _Log:
    """The part of an account that one API server tells."""

    cluster: str
    events: int = 0
    begins: str | None = None
    rows: list[dict] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def read(self, events: Iterable[dict]) -> None:
        for event in events:
            self.events += 1
            moment = event.get("requestReceivedTimestamp") or ""
            self.begins = min(self.begins or moment, moment)
            identity = event.get("auditID") or ""  # a request that lasts is told at its beginning and at its end
            row = None if identity in self.seen else _audit_rows.row(self.cluster, event)
            if row:
                self.seen.add(identity)
                self.rows.append(row)


def run(context: Context, params: dict) -> dict:
    tenant = params["tenant"]
    if tenant is not None:  # a name that cannot exist is an error, not an empty answer
        _names.check_name(tenant, "tenant")
    since = "" if params["since"] is None else _moment(params["since"])
    hub = context.hub
    _fleet.require_platform(hub)
    fleet = _fleet.hosts(hub, context.cluster)
    try:
        logs = _given(params["audit_logs"], fleet)
        found, unreachable = fleet.vclusters()
        found = [(host, space) for host, space in found if tenant in (None, _tenant_of(space))]
        problems = _read_inside(context, logs, found) if params["read_vclusters"] else {}
        users = _user_info.look(fleet, tenant, None, {})["users"]
        records = [*_recorded(hub, tenant), *(_row_of("vcluster", space, host.name) for host, space in found)]
    finally:
        fleet.close()
    rows = [row for log in logs.values() for row in log.rows]
    rows = [row for row in rows if params["platform_access"] or not _audit_rows.is_platforms(row)]
    rows += _unknown([*records, *_of_users(users)], rows)
    told = (row for row in rows if tenant in (None, row["tenant"]) and row["time"] >= since)
    return {
        "events": _audit_rows.together(told),
        "logs": [
            {"cluster": log.cluster, "begins": f"{log.begins[:19]}Z" if log.begins else None, "events": log.events}
            for log in logs.values()
        ],
        "without_log": [name for name in fleet.names() if name not in logs],
        "unreachable_members": unreachable,
        "unreachable_vclusters": problems,
    }


def _moment(since: str) -> str:
    return _credentials.rfc3339(time.time() - _quantities.seconds(since, "since"))


def _given(files: list[dict], fleet: _fleet.Fleet) -> dict[str, _Log]:
    logs: dict[str, _Log] = {}
    for given in files:
        cluster = given["cluster"]
        if "--" not in cluster and cluster not in fleet.names():
            raise TenantryError(f"audit_logs: {fleet.unknown(cluster)}")
        log = logs.setdefault(cluster, _Log(cluster))
        log.read(_audit_log.events(given["path"], "audit_logs"))
    return logs


def _read_inside(context: Context, logs: dict[str, _Log], found: list[tuple[Cluster, dict]]) -> dict[str, str]:
    """The logs of virtual clusters, from the volumes of their servers; what could not be read, and why."""
    problems: dict[str, str] = {}

    def read(place: tuple[Cluster, dict]) -> None:
        host, name = place[0], place[1]["metadata"]["name"]
        log = _Log(name)
        try:
            # Each server has what was asked of itself. Where there is none, the first is named as missing.
            for server in sorted(pod["metadata"]["name"] for pod in _tunnel.server_pods(host, name)) or [_tunnel.POD]:
                container = _exec.Container(host, name, server, CONTAINER)
                log.read(_audit_log.parsed(_exec.run(container, "reading the audit log", _READ_LOG).splitlines()))
            logs[name] = log
        except TenantryError as error:
            problems[name] = str(error)

    context.hub.map(read, [place for place in found if place[1]["metadata"]["name"] not in logs])
    return problems


def _tenant_of(obj: dict) -> str:
    return obj["metadata"]["labels"][_names.LABEL_TENANT]


def _recorded(hub: Cluster, tenant: str | None) -> list[dict]:
    spaces = hub.list("v1/Namespace", selector=_names.selector("tenant", tenant=tenant))
    return [_row_of("tenant", space, _names.HUB) for space in spaces]


def _row_of(kind: str, namespace: dict, cluster: str) -> dict:
    name = _tenant_of(namespace)
    if kind == "vcluster":
        name = f"{name}/{namespace['metadata']['labels'][_names.LABEL_VCLUSTER]}"
    return _record(namespace["metadata"]["creationTimestamp"], cluster, _tenant_of(namespace), kind, name)


def _of_users(users: list[dict]) -> Iterable[dict]:
    for user in users:
        yield _record(user["created"], _names.HUB, user["tenant"], "user", user["name"])
        for held in user["credentials"]:
            where = f"{user['tenant']}/{held['vcluster']}"
            row = _record(
                held["issued"] or "", where.replace("/", "--"), user["tenant"], "credential", f"{where} {user['name']}"
            )
            more = {"kubeconfig": held["kubeconfig"], "expires": held["expires"]}
            yield (
                row
                | more
                | {
                    "action": "issued",
                    "requested_by": held["requested_by"],
                    "credential_id": held["credential_id"],
                }
            )


def _record(moment: str, cluster: str, tenant: str, kind: str, name: str) -> dict:
    return {
        "time": moment,
        "cluster": cluster,
        "tenant": tenant,
        "actor": None,
        "requested_by": None,
        "action": "created",
        "kind": kind,
        "name": name,
        "tool": None,
        "credential_id": None,
        "source": "record",
        "count": 1,
    }


def _unknown(records: Iterable[dict], rows: list[dict]) -> list[dict]:
    """The records of what no log tells; a log that does is told the rest of what is known of a credential."""
    by_id = {row["credential_id"]: row for row in rows if row["credential_id"]}
    told = {(row["kind"], row["tenant"], row["name"]) for row in rows if row["action"] == "created"}
    found = []
    for record in records:
        row = by_id.get(record["credential_id"]) if record["credential_id"] else None
        if row:
            row |= {"kubeconfig": record["kubeconfig"], "expires": record["expires"]}
            row["requested_by"] = row["requested_by"] or record["requested_by"]
        elif record["time"] and (record["kind"], record["tenant"], record["name"]) not in told:
            found.append(record)
    return found
