# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_self_service: create what tenants request, delete what they no longer request."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CUSTOM_RESOURCE_DEFINITION,
    NAMESPACE,
    SERVICE_ACCOUNT,
    TENANT_USER_REQUEST,
    VIRTUAL_CLUSTER_REQUEST,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._platform.crds import GROUP, PLURAL, USER_PLURAL
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import (
    DELETED,
    DENIED,
    EXPIRED,
    FAILED,
    PAUSED,
    PENDING,
    READY,
    Outcome,
    is_requester,
    judged,
    note,
    report_failure,
    requester_account,
    row_of,
    run_bisecting,
    update_status,
    with_renamed_fields,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.user_requests import UserRequest
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.users import UserReconciler
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.vcluster_requests import (
    Request,
    forgotten,
    in_turns,
    is_of,
    item_of,
    refusal,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import lifecycle, reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

# Seconds between two reads of the kind that is not watched.
LOOK_AGAIN = 5
# Which hosts there are, and how full they are, is for administrators.
NO_HOST = "no cluster of the platform fits, or has room for it now. Reduce the resources, or ask an administrator"


@dataclass(frozen=True)
class SelfServiceOptions:
    """Options of a run."""

    defaults: dict[str, Any]  # options of virtual clusters, for what requests do not say
    versions: tuple[str, ...]  # that requests may name
    watch: int  # seconds
    vclusters: VClusterOptions

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> SelfServiceOptions:
        return cls(params["defaults"], tuple(params["versions"]), params["watch"], VClusterOptions.of(params))


def run(context: Context, items: list[dict], options: SelfServiceOptions) -> list[dict]:
    """Process the requests of one tenant or of all, repeatedly until `watch` seconds have passed.

    Return a row for each virtual cluster and user that is requested or was deleted.
    """
    tenant = items[0]["tenant"]
    if tenant is not None:
        naming.check_name(tenant, "tenant")
    registry.require_platform(context.hub)
    end = Deadline(options.watch)
    rows: dict[str, dict] = {}
    while True:
        with closing(registry.hosts(context.hub, context.cluster)) as fleet:
            reconciler = RequestReconciler.read(context, tenant, fleet, options)
            reconciler.reconcile()
        for name, row in reconciler.rows.items():
            rows[name] = _added(rows.get(name), row)
        if context.check_mode or not _await_change(context.hub, reconciler.seen, end):
            return [rows[name] for name in sorted(rows)]


def _added(before: dict | None, row: dict) -> dict:
    """Return the row of a virtual cluster over all passes: its last state, with all actions."""
    if before is None:
        return row
    done = {key: before[key] + row[key] for key in ("actions", "diff")}
    return {**row, **done, "changed": before["changed"] or row["changed"]}


def _await_change(hub: Cluster, seen: set[tuple[str, int]], end: Deadline) -> bool:
    """Return whether requests other than those seen appear before the time has passed. Their status does not count."""
    while not end.expired:
        if _versions(hub) != seen:
            return True
        try:
            longest = max(1, min(LOOK_AGAIN, round(end.remaining())))
            for event, request in hub.watch(VIRTUAL_CLUSTER_REQUEST, timeout=longest):
                if event == "DELETED" or _version(request) not in seen:
                    return True
        except ApiError as error:
            if not error.transient:
                raise
            end.pause()
    return False


def _versions(hub: Cluster) -> set[tuple[str, int]]:
    return {_version(request) for kind in (VIRTUAL_CLUSTER_REQUEST, TENANT_USER_REQUEST) for request in hub.list(kind)}


def _version(request: dict) -> tuple[str, int]:
    return request["metadata"]["uid"], request["metadata"].get("generation", 0)


@dataclass
class RequestReconciler:
    """One pass over all requests: their current state, and the outcome of each."""

    context: Context
    options: SelfServiceOptions
    definition: dict  # of the kind
    tenant_namespaces: dict[str, dict]  # by tenant
    requests: dict[str, Request]  # by the namespace of the virtual cluster, the oldest first
    places: FleetState
    found: dict[str, VirtualCluster]  # the virtual clusters there are, likewise
    users_run: UserReconciler
    seen: set[tuple[str, int]]
    rows: dict[str, dict] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def read(
        cls, context: Context, tenant: str | None, fleet: registry.Fleet, options: SelfServiceOptions
    ) -> RequestReconciler:
        """Read all requests and virtual clusters."""
        hub = context.hub
        definition, users_definition = (_definition(hub, plural) for plural in (PLURAL, USER_PLURAL))
        tenant_namespaces = {
            space["metadata"]["labels"][naming.LABEL_TENANT]: space
            for space in hub.list(NAMESPACE, selector=naming.selector("tenant", tenant=tenant))
        }
        owners = {space["metadata"]["name"]: name for name, space in tenant_namespaces.items()}
        live, users = (sorted(hub.list(kind), key=_age) for kind in (VIRTUAL_CLUSTER_REQUEST, TENANT_USER_REQUEST))

        live = [with_renamed_fields(context, one) if one["metadata"]["namespace"] in owners else one for one in live]

        def asked(objects: list[dict]) -> list[tuple[str, dict]]:
            return [(owners[space], one) for one in objects if (space := one["metadata"]["namespace"]) in owners]

        places = FleetState(fleet)
        found = {name: one for name, one in places.found.items() if one.tenant in tenant_namespaces}
        accounts = hub.list(SERVICE_ACCOUNT, selector=naming.selector("user"))
        seen = {_version(one) for one in [*live, *users]}
        requests = {one.namespace: one for one in (Request(*those) for those in asked(live))}
        users_run = UserReconciler(
            context, users_definition, tenant_namespaces, [UserRequest(*those) for those in asked(users)], accounts
        )
        return cls(context, options, definition, tenant_namespaces, requests, places, found, users_run, seen)

    def reconcile(self) -> None:
        """Process the requests: users first, then virtual clusters, then access; write each request's status."""
        self.users_run.reconcile()
        self.rows = {name: self._row(one.tenant, one.name) for name, one in self.requests.items()}
        concerned = {found.tenant for found in self.found.values() if found.readable_record.request}
        self._remove()
        self._make()
        concerned |= {one.tenant for one in self.requests.values() if not self._is_refused(one)}
        for tenant in sorted(concerned):
            self._grant_access(tenant)
        for request in self.requests.values():
            report_failure(self.rows[request.namespace], partial(self._update_status, request))
        self.rows |= self.users_run.rows

    def _remove(self) -> None:
        """Delete what is no longer requested, and what blocks another request of the same name."""
        gone = []
        for name, found in self.found.items():
            problem, goes = attempt(partial(self._goes, name, found))
            if problem:
                self.context.warn(f"{name}: {problem}")
                self.outcomes[name] = Outcome(FAILED, problem)
            elif goes:
                gone.append(found)
        absent = {**self.options.defaults, "state": "absent", "kubeconfig_path": None}
        items = [{**absent, "tenant": one.tenant, "name": one.name, "host": one.host.name} for one in gone]
        for row in run_bisecting(self._run, items):
            name = naming.joined(row["tenant"], row["name"])
            self.rows.setdefault(name, self._row(row["tenant"], row["name"], DELETED))
            note(self.rows[name], row)
            if "error" in row:
                self.outcomes[name] = Outcome(FAILED, row["error"])
                self.rows[name]["error"] = row["error"]
            elif self.options.vclusters.wait and not self.context.check_mode:
                self.found.pop(name, None)
            else:  # it is being deleted
                self.found[name].namespace_object["metadata"]["deletionTimestamp"] = stamp(clock())

    def _run(self, items: list[dict]) -> list[dict]:
        return reconcile.run(self.context, items, self.options.vclusters)

    def _goes(self, name: str, found: VirtualCluster) -> bool:
        request = self.requests.get(name)
        if request and is_of(request, found) and self._expired(request):
            return True
        return forgotten(found, self.requests, self.tenant_namespaces.get(found.tenant), self.definition)

    def _make(self) -> None:
        items: list[dict] = []
        gone = self.places.found.keys() - self.found.keys()
        for name in in_turns(self.requests, self.found):
            if name in self.outcomes:
                continue
            if outcome := judged(partial(self._admit, name, gone, items)):
                self.outcomes[name] = outcome
        for row in run_bisecting(self._run, items):
            name = naming.joined(row["tenant"], row["name"])
            note(self.rows[name], row)
            self.outcomes[name] = _outcome(row)

    def _admit(self, name: str, gone: set[str], items: list[dict]) -> Outcome | None:
        """Add an item to `items`, or return the outcome if nothing is to be applied."""
        request = self.requests[name]
        if outcome := self._without_making(request):
            return outcome
        item = self._item(name, request)
        # Cheap checks first: there may be many denied requests in every run.
        self.places.quotas.admit(self.places.spec_of(item).wanted, gone)
        items.append(item)
        return None

    def _item(self, name: str, request: Request) -> dict:
        item = item_of(request, self.options.defaults, self.options.versions, self._requester(request))
        if found := self.found.get(name):
            item["host"] = found.host.name  # an existing virtual cluster stays on its host
        return item

    def _without_making(self, request: Request) -> Outcome | None:
        """Return the outcome of a request for which nothing is to be applied, or None."""
        found = self.found.get(request.namespace)
        if reason := refusal(request, found):
            return Outcome(DENIED, reason)
        if found and found.is_deleting:
            return Outcome(PENDING, "the previous virtual cluster of that name is still being deleted")
        if since := self._expired(request):
            return Outcome(
                EXPIRED, f"expired at {since}. Delete this request and create another one for a new virtual cluster"
            )
        if found and is_of(request, found) and not request.is_new:
            sets = lifecycle.stateful_sets(found)
            if sets and lifecycle.is_paused(sets[0]):
                return Outcome(
                    PAUSED, f"to resume it, change this request, for example its sleep{self._no_room(found)}"
                )
        return None

    def _no_room(self, found: VirtualCluster) -> str:
        """Return why the quota has no room for a paused virtual cluster, or an empty string."""
        wanted = Wanted(found.tenant, found.namespace, found.record.resources)
        problem = self.places.quotas.over_quota([wanted], ()).get(found.tenant)
        # What is not known because a member does not answer is not for tenants.
        return f". There is no room now: {problem}" if problem and not isinstance(problem, Obstacle) else ""

    def _is_refused(self, request: Request) -> bool:
        outcome = self.outcomes.get(request.namespace)
        return outcome is not None and outcome.phase == DENIED

    def _expired(self, request: Request) -> str:
        _problem, since = attempt(lambda: request.expired(clock()))  # _admit() reports the problem
        return since or ""

    def _grant_access(self, tenant: str) -> None:
        """Give the tenant's users access: the requester as administrator, others with their roles."""
        of_tenant = [name for name, row in self.rows.items() if row["tenant"] == tenant]
        problems: list[tuple[str, set[str]]] = []  # with the namespaces of the virtual clusters concerned
        problem, granted = attempt(lambda: self.users_run.grant_access(tenant))
        if problem:
            self._report_denied_access(of_tenant, problem)
        for row in granted or []:
            own = [name for name in of_tenant if (asked := self.requests.get(name)) and asked.user == row["name"]]
            for name in (own or of_tenant)[:1]:
                note(self.rows[name], row)
            if row.get("error"):
                problems.append((f"user {row['name']}: {row['error']}", row.get("failed_contexts") or set()))
        for name in of_tenant:
            outcome = self.outcomes.get(name)
            concerning = [text for text, namespaces in problems if name in namespaces]
            if outcome and outcome.phase == READY and concerning:
                self.outcomes[name] = Outcome(FAILED, "; ".join(concerning), outcome.endpoint)
        for text, _namespaces in problems:
            self.context.warn(text)

    def _report_denied_access(self, names: list[str], problem: str) -> None:
        self.context.warn(problem)
        for name in names:
            outcome = self.outcomes.get(name)
            if outcome and outcome.phase == READY:
                self.outcomes[name] = Outcome(FAILED, f"users: {problem}", outcome.endpoint)

    def _update_status(self, request: Request) -> None:
        outcome = self.outcomes[request.namespace]
        if outcome.phase == READY:
            kubeconfig = self.users_run.secret_of(request)
            outcome = Outcome(READY, outcome.message, outcome.endpoint, kubeconfig)
        update_status(self.context, request, outcome, self.rows[request.namespace])

    def _row(self, tenant: str, name: str, phase: str = PENDING) -> dict:
        space = naming.joined(tenant, name)  # also for names that are too long
        return row_of("vcluster", tenant, name, space, self.requests.get(space), phase)

    def _requester(self, request: Request) -> dict[str, str | None]:
        account = requester_account(request, self.users_run.accounts)
        if account is None:
            return {"user": None, "account": None}
        return {
            "user": user_of(account),
            "account": account["metadata"]["uid"] if is_requester(request, account) else None,
        }


def _definition(hub: Cluster, plural: str) -> dict:
    found = hub.get(CUSTOM_RESOURCE_DEFINITION, f"{plural}.{GROUP}")
    if found is None:
        raise TenantryError(
            f"kubeconfig: the cluster at {hub.server} has no {plural}.{GROUP}. Run tenantry.kube.platform on it"
        )
    return found


def _age(request: dict) -> tuple[str, str, str]:
    meta = request["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _outcome(row: dict) -> Outcome:
    if row.get("refused"):
        return Outcome(DENIED, row["error"])
    if "error" in row:
        unplaced = "placement" in row and row["placement"]["host"] is None
        return Outcome(FAILED, row["error"], row.get("endpoint"), for_tenants=NO_HOST if unplaced else "")
    if not row.get("ready"):
        return Outcome(PENDING, "is being created", row.get("endpoint"))
    return Outcome(READY, "", row.get("endpoint"))
