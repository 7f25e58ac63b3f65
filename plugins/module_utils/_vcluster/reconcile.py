# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster: all items are checked and planned before the first is applied."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.decide import host_of
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.placement.model import Decision
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
    run_each,
    validate_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import paused_frees_quota
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation, lifecycle, placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.apply import PresentOperation
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_quotas import no_room
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import HostFacts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.operations import (
    AbsentOperation,
    LifecycleOperation,
    PausedOperation,
    RestartedOperation,
    ResumedOperation,
    RotatedOperation,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.plan import (
    CheckedVCluster,
    check_present,
    plan_present,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import (
    ABSENT,
    PRESENT,
    DesiredVCluster,
    PlacedVCluster,
    Stopped,
    VClusterOperation,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import values_of_rejected_keys

# The operations of states that need only the existing virtual cluster.
OPERATIONS: dict[str, Callable[[PlacedVCluster], VClusterOperation]] = {
    ABSENT: AbsentOperation.of,
    lifecycle.RESUMED: ResumedOperation.of,
    lifecycle.RESTARTED: RestartedOperation.of,
    ca_rotation.ROTATED: RotatedOperation.of,
}


def run(context: Context, items: list[dict], options: VClusterOptions) -> list[dict]:
    """Reconcile virtual clusters, and return a row for each. An invalid item raises Rejected for all."""
    context.secret(*(text for item in items for text in values_of_rejected_keys(item["k3s_config"])))
    desired = validate_all(items, DesiredVCluster.of, name=_name_of)
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        places.quotas.correct(context)
        batch = Batch(context, places, desired, options)
        batch.place()
        batch.check_databases()
        batch.check_quotas()
        batch.warn_below_use()
        batch.plan()
        if not context.check_mode:
            batch.reserve()
        return batch.execute()


def _name_of(item: dict) -> str:
    return one_line(f"virtual cluster {item['tenant']}/{item['name']}")


def _namespace(one: DesiredVCluster | PlacedVCluster) -> str:
    return one.namespace


class Batch:
    """All items of a call, step by step, with the results by namespace.

    An invalid request raises, and nothing is written for any item. A problem of a host or a quota stops the items
    concerned only.
    """

    def __init__(
        self, context: Context, places: FleetState, desired: list[DesiredVCluster], options: VClusterOptions
    ) -> None:
        self.context, self.places, self.desired, self.options = context, places, desired, options
        self.decisions: dict[str, Decision] = {}  # of new ones with the option placement
        self.placed: dict[str, PlacedVCluster] = {}
        self.specs: dict[str, VClusterSpec] = {}  # of those to be present
        self.wanted: dict[str, Wanted] = {}  # of those and of others that get or return resources
        self.operations: dict[str, VClusterOperation] = {}
        self.stopped: dict[str, Stopped] = {}
        self._started = time.monotonic()

    def place(self) -> None:
        """Find the host of each item, and parse the spec of those that are to be present."""
        self.decisions = placement.place_new(self.places, self.desired)
        validate_all(self.desired, self._place, name=_namespace)

    def check_databases(self) -> None:
        """Stop virtual clusters whose database belongs to another."""
        for name, problem in self.places.shared_datastores(self._possible_specs().values()).items():
            self._stop(name, problem)

    def check_quotas(self) -> None:
        """Stop the virtual clusters of a tenant that grow, if its quota has no room."""
        leaving = [one.namespace for one in self._possible() if one.desired.state == ABSENT]
        self._stop_growing(self.places.quotas.over_quota(self._possible_wanted().values(), leaving))

    def reserve(self) -> None:
        """Write the promises of virtual clusters whose resources are about to change, and check the quotas again."""
        hosts, leaving = {}, defaultdict(list)
        for one in self._possible():
            operation = self.operations[one.namespace]
            if isinstance(operation, (PresentOperation, LifecycleOperation)) and operation.plan.changes_resources:
                hosts[one.namespace] = one.host.name
            elif one.desired.state == ABSENT:
                leaving[one.desired.tenant].append(one.namespace)
        self._stop_growing(self.places.quotas.reserve(self._possible_wanted().values(), hosts, leaving))

    def execute(self) -> list[dict]:
        """Execute the operations. What takes quota that other items of the call free comes after those."""
        later = set() if self.context.check_mode else self._taking()
        rows = self._execute([one for one in self.desired if one.namespace not in later])
        if later:
            self._check_freed(later, rows)
            rows += self._execute([one for one in self.desired if one.namespace in later])
        by_name = {row["namespace"]: row for row in rows}
        return [by_name[one.namespace] for one in self.desired]

    def settle(self, rows: list[dict]) -> None:
        """Note on the tenants' records what has been applied. Without that, the next run does it."""
        failed = {row["namespace"] for row in rows if row.get("error")}
        problem, _nothing = attempt(lambda: self.places.quotas.settle(self._done(rows), failed, self.stopped))
        if problem:
            self.context.warn(problem)

    def warn_below_use(self) -> None:
        """Warn about resources below the use. If the use is not known, nothing is rejected."""
        for name in self._possible_specs():
            problem, lines = attempt(partial(self._below_use, self.wanted[name]))
            for line in [f"{name}: resources: its use is not known: {problem}"] if problem else lines or []:
                self.context.warn(line)

    def plan(self) -> None:
        """Plan the operation of each item that was not stopped."""
        facts = self._host_facts()
        present = [one for one in self._possible() if one.namespace in self.specs]

        def check(one: PlacedVCluster) -> CheckedVCluster:
            return check_present(self.context, one, self.specs[one.namespace], facts[one.host.name])

        found = validate_all(present, check, name=_namespace, found=self._stop_placed)
        checked = {one.placed.namespace: one for one in found if one}
        self.specs |= {name: one.spec for name, one in checked.items()}

        def planned(one: PlacedVCluster) -> None:
            operation: VClusterOperation
            if one.namespace in checked:
                operation = PresentOperation(plan_present(self.context, checked[one.namespace]))
            elif one.desired.state == lifecycle.PAUSED:
                operation = self._paused(one)
            else:
                operation = OPERATIONS[one.desired.state](one)
            self.operations[one.namespace] = operation

        validate_all(self._possible(), planned, name=_namespace, each=run_concurrently, found=self._stop_placed)

    def known(self, desired: DesiredVCluster) -> dict:
        """Return the fields that every row has."""
        placed, decision = self.placed.get(desired.namespace), self.decisions.get(desired.namespace)
        return {
            "name": desired.name,
            "tenant": desired.tenant,
            "namespace": desired.namespace,
            "host": placed.host.name if placed else desired.host,
            "state": desired.state,
            **({"placement": decision.as_row()} if decision else {}),
        }

    def row(self, desired: DesiredVCluster) -> dict:
        """Execute the operation of an item, and return its row."""
        row, name = self.known(desired), desired.namespace
        if stopped := self.stopped.get(name):
            return {**row, "changed": False, "actions": [], "error": stopped.problem, "refused": stopped.refused}
        if not self.context.check_mode:
            self.places.quotas.renew(desired.tenant, name)
        deadline = self.context.deadline(self.options.wait_timeout)
        result = self.operations[name].execute(self.context, deadline, wait=self.options.wait)
        if result.error:
            row["error"] = result.error
        return {
            **row,
            **result.facts,
            "changed": bool(result.actions),
            "actions": result.actions,
            "diff": result.diffs,
            "seconds": round(time.monotonic() - self._started, 1),
        }

    def _place(self, desired: DesiredVCluster) -> None:
        """Place one item. A problem of its host or tenant stops it; an invalid request raises."""
        problem, placed = attempt(lambda: self._find(desired))
        if placed:
            self.placed[desired.namespace] = placed
            if desired.state == PRESENT:
                problem, _nothing = attempt(lambda: self.places.check_tenant(self.context, desired.tenant))
        if problem:
            self._stop(desired.namespace, problem)
        elif desired.state == lifecycle.RESUMED and placed and placed.found:
            resources = placed.record.resources
            self.wanted[desired.namespace] = Wanted(desired.tenant, desired.namespace, resources)
        elif desired.state == PRESENT:
            self.specs[desired.namespace] = spec = self.places.spec_of(desired.options)
            self.wanted[desired.namespace] = spec.wanted
            if spec.datastore:
                self.context.secret(spec.datastore.endpoint, spec.datastore.password)

    def _find(self, desired: DesiredVCluster) -> PlacedVCluster:
        decision, found = self.decisions.get(desired.namespace), self.places.found.get(desired.namespace)
        wanted = host_of(decision) if decision else desired.host
        host = self.places.host_of(desired.tenant, desired.namespace, wanted)
        return PlacedVCluster(desired, host, found, found.record if found else NO_RECORD)

    def _stop_growing(self, problems: dict[str, TenantryError]) -> None:
        for name, wanted in self._possible_wanted().items():
            if wanted.tenant in problems and self.places.quotas.grows(wanted):
                self._stop(name, self._why_not(wanted, problems[wanted.tenant]))

    def _why_not(self, wanted: Wanted, problem: TenantryError) -> TenantryError:
        """Return why there is no room for it. For one that wakes up: without the others of the call, if it can be."""
        if not self.placed[wanted.namespace].record.paused:
            return problem
        alone = self.places.quotas.over_quota([wanted], []).get(wanted.tenant, problem)
        return alone if isinstance(alone, Obstacle) else no_room(wanted, alone)

    def _execute(self, desired: list[DesiredVCluster]) -> list[dict]:
        rows = run_each(self.context.hub, desired, self.known, self.row)
        if not self.context.check_mode:
            self.settle(rows)
        return rows

    def _taking(self) -> set[str]:
        """Return those that grow and have no room yet: only when others of the call have shrunk or are gone."""
        growing = [one for one in self._possible_wanted().values() if self.places.quotas.grows(one)]
        short = self.places.quotas.over_quota(growing, [])
        return {one.namespace for one in growing if one.tenant in short}

    def _check_freed(self, later: set[str], rows: list[dict]) -> None:
        """Stop those of `later` that have no room after these rows either."""
        done = self._done(rows)
        tenants = {self.wanted[name].tenant for name in later}
        counted = [
            one
            for name, one in self._possible_wanted().items()
            if one.tenant in tenants and (name in later or name in done)
        ]
        self._stop_growing(self.places.quotas.over_quota(counted, [name for name, one in done.items() if not one]))

    def _done(self, rows: list[dict]) -> dict[str, Wanted | None]:
        """Return what has been applied by these rows: None for those that are gone."""
        succeeded = [row["namespace"] for row in rows if not row.get("error")]
        applied: dict[str, Wanted | None] = {name: self.wanted[name] for name in succeeded if name in self.wanted}
        if self.options.wait:
            applied |= {row["namespace"]: None for row in rows if row["state"] == ABSENT and not row.get("error")}
        return applied

    def _paused(self, placed: PlacedVCluster) -> PausedOperation:
        """Plan a pause, and note what is left of its resources."""
        returns = paused_frees_quota(self.places.records.get(placed.desired.tenant))
        operation = PausedOperation.of(placed, returns=returns)
        if (kept := operation.plan.kept) is not None:
            resources = {**placed.record.resources, **kept}
            self.wanted[placed.namespace] = Wanted(placed.desired.tenant, placed.namespace, resources)
        return operation

    def _below_use(self, wanted: Wanted) -> list[str]:
        return list(self.places.quotas.lowered_below_use([wanted]))

    def _host_facts(self) -> dict[str, HostFacts]:
        """Return the facts of hosts with virtual clusters that are to be present, by name."""
        specs = self._possible_specs()
        concerned = [one for one in self._possible() if one.namespace in specs]
        hosts = {one.host.name: one.host for one in concerned}
        sharing = {one.host.name for one in concerned if specs[one.namespace].shared}
        facts: dict[str, HostFacts] = {}

        def look(host: Cluster) -> None:
            problem, found = attempt(lambda: HostFacts.of(host, shared=host.name in sharing))
            if found:
                facts[host.name] = found
            for one in concerned if problem else ():
                if one.host is host:
                    self._stop(one.namespace, problem or "")

        self.context.hub.map(look, hosts.values())
        return facts

    def _possible(self) -> list[PlacedVCluster]:
        return [one for name, one in self.placed.items() if name not in self.stopped]

    def _possible_specs(self) -> dict[str, VClusterSpec]:
        return {name: spec for name, spec in self.specs.items() if name not in self.stopped}

    def _possible_wanted(self) -> dict[str, Wanted]:
        return {name: one for name, one in self.wanted.items() if name not in self.stopped}

    def _stop(self, namespace: str, problem: TenantryError | str) -> None:
        self.stopped[namespace] = Stopped.by(problem)

    def _stop_placed(self, placed: PlacedVCluster, problem: TenantryError) -> None:
        self._stop(placed.namespace, problem)
