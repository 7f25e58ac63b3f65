# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module audit_info: merge audit logs of API servers with what objects record."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._audit import events as audit_events
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment, rfc3339, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import audit_log
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import MANAGE
from ansible_collections.tenantry.kube.plugins.module_utils._users import info
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import DATA_DIRECTORY

# What people do with their own kubeconfigs stays where it is: the log of a virtual cluster may be long. The first line
# of a file tells since when there is a log.
_READ_LOG = f"""\
cd {DATA_DIRECTORY}/server/logs || exit 0
for file in audit*.log; do
  [ -e "$file" ] || continue
  head -n 1 "$file"
  tail -n +2 "$file" | grep -E '"namespace":"tenantry-system"|"resource":"clusterrolebindings"|"username":"system:(admin"|serviceaccount:tenantry-system:platform-admin")' || [ $? -eq 1 ]
done
"""  # noqa: E501 - a line of the script
# Bytes of one server's log: its administrators decide how many events are about the platform.
LARGEST_LOG = 32 * 1024 * 1024
# Time by which a log may begin after its virtual cluster.
_START = timedelta(minutes=5)


@dataclass(frozen=True)
class AuditLog:
    """The audit log file of one cluster."""

    cluster: str
    path: str


@dataclass(frozen=True)
class ReportOptions:
    """Options of the report. `since` is a point in time in RFC 3339."""

    tenant: str | None
    since: str | None
    audit_logs: tuple[AuditLog, ...]
    read_vclusters: bool
    platform_access: bool

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> ReportOptions:
        logs = tuple(AuditLog(one["cluster"], one["path"]) for one in params["audit_logs"])
        return cls(params["tenant"], params["since"], logs, params["read_vclusters"], params["platform_access"])


@dataclass
class _Log:
    """The events of one API server's log."""

    cluster: str
    manages: audit_events.Manages
    events: int = 0
    begins: str | None = None
    rows: list[dict] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def read(self, events: Iterable[dict]) -> None:
        for event in events:
            self.events += 1
            received = event.get("requestReceivedTimestamp") or ""
            self.begins = min(self.begins or received, received)
            identity = event.get("auditID") or ""  # a long request has an event at its beginning and at its end
            row = None if identity in self.seen else audit_events.row(self.cluster, event, self.manages)
            if row:
                self.seen.add(identity)
                self.rows.append(row)


def run(context: Context, options: ReportOptions) -> dict:
    """Return the result of audit_info:

    `events` in order of time, and which logs are late, missing or could not be read.
    """
    tenant = options.tenant
    if tenant is not None:  # an invalid name is an error, not an empty result
        naming.check_name(tenant, "tenant")
    since = "" if options.since is None else _moment(options.since)
    hub = context.hub
    with registry.open_fleet(context) as fleet:
        logs = _given(options.audit_logs, fleet, _managers(hub))
        found, unreachable = fleet.vclusters()
        found = [one for one in found if tenant in (None, one.tenant)]
        problems = _read_inside(context, logs, found) if options.read_vclusters else {}
        users = info.look(fleet, tenant, None, {})["users"]
        records = [*_recorded(hub, tenant), *map(_row_of_vcluster, found)]
    rows = [row for log in logs.values() for row in log.rows]
    rows = [row for row in rows if options.platform_access or not audit_events.is_platforms(row)]
    rows += _unknown([*records, *_of_users(users)], rows)
    wanted = (row for row in rows if tenant in (None, row["tenant"]) and row["time"] >= since)
    return {
        "events": audit_events.together(wanted),
        "logs": [
            {"cluster": log.cluster, "begins": f"{log.begins[:19]}Z" if log.begins else None, "events": log.events}
            for log in logs.values()
        ],
        "late_logs": _late(logs, since, _created(records)),
        "without_log": [name for name in fleet.names() if name not in logs],
        "unreachable_members": unreachable,
        "unreachable_vclusters": problems,
    }


def _created(records: Iterable[dict]) -> dict[str, str]:
    """Return the time of creation by cluster, before which no log can exist."""
    first: dict[str, str] = {}
    for record in records:
        clusters = [record["cluster"]]
        if record["kind"] == "vcluster":
            clusters.append(record["name"].replace("/", "--"))
        for cluster in clusters if record["time"] else ():
            first[cluster] = min(first.get(cluster, record["time"]), record["time"])
    return first


def _late(logs: Mapping[str, _Log], since: str, created: Mapping[str, str]) -> dict[str, str]:
    """Return the logs that begin after the requested time, with the time at which they begin."""
    found = {}
    for name, log in logs.items():
        first = created.get(name)
        wanted = max(since, stamp(moment(first) + _START) if first else since)
        begins = f"{log.begins[:19]}Z" if log.begins else None
        if begins is None:
            found[name] = "is empty: earlier events are lost"
        elif wanted and begins > wanted:
            found[name] = f"begins at {begins}: earlier events are lost"
    return found


def _moment(since: str) -> str:
    return rfc3339(time.time() - quantities.seconds(since, "since"))


def _managers(hub: Cluster) -> audit_events.Manages:
    """Return a check for who may manage the platform on the hub, where playbooks use their users' credentials."""
    known: dict[tuple, bool] = {}

    def manages(user: dict) -> bool:
        key = user.get("username"), *(user.get("groups") or [])
        if key not in known:
            known[key] = hub.allows(user, MANAGE)
        return known[key]

    return manages


def _nobody(user: dict) -> bool:
    """In a virtual cluster, only the platform's own credential belongs to the platform."""
    del user
    return False


def _given(files: Iterable[AuditLog], fleet: registry.Fleet, manages: audit_events.Manages) -> dict[str, _Log]:
    logs: dict[str, _Log] = {}
    for given in files:
        cluster = given.cluster
        if "--" not in cluster and cluster not in fleet.names():
            raise TenantryError(f"audit_logs: {fleet.unknown(cluster)}")
        log = logs.setdefault(cluster, _Log(cluster, manages))
        log.read(audit_log.events(given.path, "audit_logs"))
    return logs


def _read_inside(context: Context, logs: dict[str, _Log], found: list[VirtualCluster]) -> dict[str, str]:
    """Read the logs of virtual clusters from their servers' volumes. Return the errors by namespace.

    What was read before an error counts.
    """
    problems: dict[str, str] = {}

    def read(vcluster: VirtualCluster) -> None:
        host, name = vcluster.host, vcluster.namespace
        log = _Log(name, _nobody)
        try:
            # Each server has what was asked of itself. Where there is none, the first is named as missing.
            for server in sorted(pod["metadata"]["name"] for pod in connection.server_pods(host, name)) or [
                connection.SERVER_POD
            ]:
                container = pod_exec.Container(host, name, server, naming.K3S_CONTAINER)
                sink = audit_log.Sink(log.read, LARGEST_LOG)
                pod_exec.run(container, "reading the audit log", _READ_LOG, sink=sink)
        except TenantryError as error:
            problems[name] = str(error)
        if log.events or name not in problems:
            logs[name] = log

    context.hub.map(read, [one for one in found if one.namespace not in logs])
    return problems


def _recorded(hub: Cluster, tenant: str | None) -> list[dict]:
    spaces = hub.list(NAMESPACE, selector=naming.selector("tenant", tenant=tenant))
    return [_row_of_tenant(space) for space in spaces]


def _row_of_tenant(namespace: dict) -> dict:
    meta = namespace["metadata"]
    tenant = meta["labels"][naming.LABEL_TENANT]
    return _record(meta["creationTimestamp"], naming.HUB, tenant, "tenant", tenant)


def _row_of_vcluster(one: VirtualCluster) -> dict:
    return _record(one.created, one.host.name, one.tenant, "vcluster", f"{one.tenant}/{one.name}")


def _of_users(users: list[dict]) -> Iterable[dict]:
    for user in users:
        yield _record(user["created"], naming.HUB, user["tenant"], "user", user["name"])
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


def _record(created: str, cluster: str, tenant: str, kind: str, name: str) -> dict:
    return {
        "time": created,
        "cluster": cluster,
        "tenant": tenant,
        "actor": None,
        "acted_as": None,
        "requested_by": None,
        "action": "created",
        "kind": kind,
        "name": name,
        "tool": None,
        "platform": False,
        "credential_id": None,
        "source": "record",
        "count": 1,
    }


def _unknown(records: Iterable[dict], rows: list[dict]) -> list[dict]:
    """Return records of events that no log has, and complete logged events with what the record adds.

    The requester is not taken from the record: administrators of the virtual cluster can write it.
    """
    by_id = {row["credential_id"]: row for row in rows if row["credential_id"]}
    logged = {(row["kind"], row["tenant"], row["name"]) for row in rows if row["action"] == "created"}
    found = []
    for record in records:
        row = by_id.get(record["credential_id"]) if record["credential_id"] else None
        if row:
            row |= {"kubeconfig": record["kubeconfig"], "expires": record["expires"]}
        elif record["time"] and (record["kind"], record["tenant"], record["name"]) not in logged:
            found.append(record)
    return found
