# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_self_service: what tenants ask for is made, what they no longer ask for goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ansible_collections.tenantry.kube.plugins.module_utils import (
    _fleet,
    _names,
    _self_service_users,
    _vcluster,
    _vcluster_states,
)
from ansible_collections.tenantry.kube.plugins.module_utils._client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._places import ACCOUNT, user_of
from ansible_collections.tenantry.kube.plugins.module_utils._render_requests import CRD, GROUP, PLURAL, REQUEST
from ansible_collections.tenantry.kube.plugins.module_utils._render_user import OIDC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_places import Found, Places
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_requests import (
    EXPIRED,
    FAILED,
    PAUSED,
    PENDING,
    READY,
    REFUSED,
    Outcome,
    Request,
    forgotten,
    is_of,
    item_of,
    origin,
    refusal,
    status_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_upkeep import moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._wait import LONGEST_WATCH, Deadline

NAMESPACE = "v1/Namespace"
DELETED = "Deleted"


def clock() -> datetime:
    return datetime.now(UTC)


def run(context: Context, items: list[dict]) -> list[dict]:
    tenant = items[0]["tenant"]
    if tenant is not None:
        _names.check_name(tenant, "tenant")
    _fleet.require_platform(context.hub)
    end = Deadline(context.module.params["watch"])
    rows: dict[str, dict] = {}
    while True:
        turn = Turn.look(context, tenant)
        turn.carry_out()
        for name, row in turn.rows.items():
            rows[name] = _added(rows.get(name), row)
        if context.check_mode or not _await_change(context.hub, turn.seen, end):
            return [rows[name] for name in sorted(rows)]


def _added(before: dict | None, row: dict) -> dict:
    """The row of one virtual cluster over all turns of a run: as it is at the end, with all that was done."""
    if before is None:
        return row
    done = {key: before[key] + row[key] for key in ("actions", "diff")}
    return {**row, **done, "changed": before["changed"] or row["changed"]}


def _await_change(hub: Cluster, seen: set[tuple[str, int]], end: Deadline) -> bool:
    """Whether there are other requests than those seen, before the time is over. Their status does not count."""
    while not end.expired:
        if {_version(request) for request in hub.list(REQUEST)} != seen:
            return True
        try:
            longest = max(1, min(LONGEST_WATCH, round(end.remaining())))
            for event, request in hub.watch(REQUEST, timeout=longest):
                if event == "DELETED" or _version(request) not in seen:
                    return True
        except ApiError as error:
            if not error.transient:
                raise
            end.pause()
    return False


def _version(request: dict) -> tuple[str, int]:
    return request["metadata"]["uid"], request["metadata"].get("generation", 0)


@dataclass
class Turn:
    """One look at all requests, and what follows from it."""

    context: Context
    definition: dict  # of the kind
    homes: dict[str, dict]  # by tenant
    requests: dict[str, Request]  # by the namespace of the virtual cluster, the oldest first
    found: dict[str, Found]  # the virtual clusters there are, likewise
    accounts: list[dict]
    seen: set[tuple[str, int]]
    rows: dict[str, dict] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def look(cls, context: Context, tenant: str | None) -> Turn:
        hub = context.hub
        definition = hub.get(CRD, f"{PLURAL}.{GROUP}")
        if definition is None:
            raise TenantryError(
                f"kubeconfig: the cluster at {hub.server} has no {PLURAL}.{GROUP}; run tenantry.kube.platform on it"
            )
        homes = {
            space["metadata"]["labels"][_names.LABEL_TENANT]: space
            for space in hub.list(NAMESPACE, selector=_names.selector("tenant", tenant=tenant))
        }
        owners = {space["metadata"]["name"]: name for name, space in homes.items()}
        live = sorted(hub.list(REQUEST), key=_age)
        asked = [
            Request(owners[one["metadata"]["namespace"]], one) for one in live if one["metadata"]["namespace"] in owners
        ]
        fleet = _fleet.hosts(hub, context.cluster)
        try:
            found = {name: one for name, one in Places(fleet).found.items() if one.tenant in homes}
        finally:
            fleet.close()
        accounts = hub.list(ACCOUNT, selector=_names.selector("user", tenant=tenant))
        seen = {_version(one) for one in live}
        return cls(context, definition, homes, {one.namespace: one for one in asked}, found, accounts, seen)

    def carry_out(self) -> None:
        self.rows = {name: self._row(one.tenant, one.name) for name, one in self.requests.items()}
        concerned = {one.tenant for one in self.requests.values()}
        concerned |= {found.tenant for found in self.found.values() if origin(found)}
        self._remove()
        self._make()
        for tenant in sorted(concerned):
            self._let_in(tenant)
        for request in self.requests.values():
            self._tell(request)

    def _remove(self) -> None:
        """What is no longer asked for, and what is in the way of another request of the same name."""
        gone = []
        for name, found in self.found.items():
            request = self.requests.get(name)
            expired = request and is_of(request, found) and self._expired(request)
            if expired or forgotten(found, self.requests, self.homes.get(found.tenant), self.definition):
                gone.append(found)
        absent = {**self._defaults, "state": "absent", "kubeconfig_path": None}
        items = [{**absent, "tenant": one.tenant, "name": one.name, "host": one.host.name} for one in gone]
        for row in _each(lambda some: _vcluster.run(self.context, some), items):
            name = _names.vcluster_namespace(row["tenant"], row["name"])
            self.rows.setdefault(name, self._row(row["tenant"], row["name"], DELETED))
            self._note(name, row)
            if "error" in row:
                self.outcomes[name] = Outcome(FAILED, row["error"])
                self.rows[name]["error"] = row["error"]
            elif self.context.module.params["wait"] and not self.context.check_mode:
                self.found.pop(name, None)
            else:  # it is on its way
                self.found[name].namespace["metadata"]["deletionTimestamp"] = stamp(clock())

    def _make(self) -> None:
        items = []
        for name, request in self.requests.items():
            if name in self.outcomes:
                continue
            try:
                if outcome := self._without_making(request):
                    self.outcomes[name] = outcome
                else:
                    items.append(self._item(name, request))
            except TenantryError as error:
                self.outcomes[name] = Outcome(REFUSED, str(error))
        for row in _each(lambda some: _vcluster.run(self.context, some), items):
            name = _names.vcluster_namespace(row["tenant"], row["name"])
            self._note(name, row)
            self.outcomes[name] = _outcome(row)

    def _item(self, name: str, request: Request) -> dict:
        item = item_of(request, self._defaults, self.context.module.params["versions"], self._asker(request))
        if found := self.found.get(name):
            item["host"] = found.host.name  # what is there stays where it is
        return item

    def _without_making(self, request: Request) -> Outcome | None:
        """What is said where nothing is to be made or changed."""
        found = self.found.get(request.namespace)
        if reason := refusal(request, found):
            return Outcome(REFUSED, reason)
        if found and found.namespace["metadata"].get("deletionTimestamp"):
            return Outcome(PENDING, "the one of that name before is still being deleted")
        if since := self._expired(request):
            return Outcome(EXPIRED, f"expired at {since}; delete this request, make another to have it again")
        if found and is_of(request, found) and not request.is_new:
            sets = _vcluster_states.stateful_sets(found)
            if sets and _vcluster_states.is_paused(sets[0]):
                return Outcome(PAUSED, "change this request, such as its sleep, to have it resumed")
        return None

    def _expired(self, request: Request) -> str:
        try:
            return request.expired(clock())
        except TenantryError:  # told when it is to be made
            return ""

    def _let_in(self, tenant: str) -> None:
        """The users of the tenant, into what there is now: its requester as administrator, others as everywhere."""
        accounts = [one for one in self.accounts if _self_service_users.is_ours_to_let_in(one, tenant)]
        of_tenant = [name for name, row in self.rows.items() if row["tenant"] == tenant]
        problems = []
        for row in _each(lambda some: _self_service_users.run(self.context, some), accounts, _self_service_users.named):
            own = [name for name in of_tenant if (asked := self.requests.get(name)) and asked.user == row["name"]]
            for name in (own or of_tenant)[:1]:
                self._note(name, row)
            if "error" in row:
                problems.append(f"user {row['name']}: {row['error']}")
        for name in of_tenant:
            outcome, hint = self.outcomes.get(name), f"vcluster {self.rows[name]['name']} on "
            concerning = [problem for problem in problems if hint in problem]
            if outcome and outcome.phase == READY and concerning:
                self.outcomes[name] = Outcome(FAILED, "; ".join(concerning), outcome.endpoint)
        for problem in problems:
            self.context.warn(problem)

    def _tell(self, request: Request) -> None:
        name = request.namespace
        outcome = self.outcomes[name]
        if outcome.phase == READY:
            kubeconfig = _self_service_users.secret_of(self.accounts, request)
            outcome = Outcome(READY, outcome.message, outcome.endpoint, kubeconfig)
        row, status = self.rows[name], status_of(request, outcome, clock())
        row |= {"phase": outcome.phase, "message": outcome.message}
        if outcome.phase == FAILED:
            row["error"] = f"{name}: {outcome.message}"
        if status == request.status:
            return
        where = {key: request.obj["metadata"][key] for key in ("name", "namespace")}
        row["changed"] = True
        row["actions"] = [*row["actions"], {"action": "update", "kind": "VirtualClusterRequest", **where}]
        if not self.context.check_mode:
            self._write(request, where, status)

    def _write(self, request: Request, where: dict, status: dict) -> None:
        told = {"apiVersion": request.obj["apiVersion"], "kind": request.obj["kind"], "metadata": where}
        told["metadata"] = {**where, "uid": request.uid}
        try:
            self.context.hub.apply_status({**told, "status": status})
        except ApiError as error:
            if error.status not in (404, 409):  # it was deleted meanwhile: seen in the next turn
                raise

    def _note(self, name: str, done: dict) -> None:
        row = self.rows[name]
        row["actions"] = [*row["actions"], *done["actions"]]
        row["changed"] = row["changed"] or bool(done["actions"])
        row["diff"] = [*row["diff"], *(done.get("diff") or [])]

    def _row(self, tenant: str, name: str, phase: str = PENDING) -> dict:
        space = _names.vcluster_namespace(tenant, name)
        request = self.requests.get(space)
        row = {"tenant": tenant, "name": name, "namespace": space, "requested_by": request and request.requester}
        return {**row, "phase": phase, "message": "", "changed": False, "actions": [], "diff": []}

    def _asker(self, request: Request) -> dict[str, str | None]:
        """Which user asks. One that is younger than the request is another user of the same name."""
        for account in self.accounts:
            meta, user = account["metadata"], user_of(account)
            at_issuer = (meta.get("annotations") or {}).get(OIDC_ANNOTATION)
            asks = at_issuer == f"user {request.requester}" if at_issuer else user == request.user
            if asks and meta["labels"].get(_names.LABEL_TENANT) == request.tenant:
                return {
                    "user": user,
                    "account": meta["uid"] if moment(meta["creationTimestamp"]) <= request.created else None,
                }
        return {"user": None, "account": None}

    @property
    def _defaults(self) -> dict:
        return self.context.module.params["defaults"]


def _age(request: dict) -> tuple[str, str, str]:
    meta = request["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _outcome(row: dict) -> Outcome:
    if row.get("refused"):
        return Outcome(REFUSED, row["error"])
    if "error" in row:
        return Outcome(FAILED, row["error"], row.get("endpoint"))
    if not row.get("ready"):
        return Outcome(PENDING, "is being made", row.get("endpoint"))
    return Outcome(READY, "", row.get("endpoint"))


def _each(
    run_all: Callable[[list[dict]], list[dict]],
    items: list[dict],
    named: Callable[[dict], dict] = lambda item: {"tenant": item["tenant"], "name": item["name"]},
) -> list[dict]:
    """
    A row per item. The flows refuse all items where one is bad, before anything is written: so those that are refused
    together are tried in two halves, the older first, until it is known whose fault it is.
    """
    if not items:
        return []
    try:
        return run_all(items)
    except TenantryError as error:
        if len(items) == 1:
            return [{**named(items[0]), "actions": [], "refused": True, "error": str(error)}]
    half = len(items) // 2
    return [row for part in (items[:half], items[half:]) for row in _each(run_all, part, named)]
