# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster: all items are checked and planned before the first is applied."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
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
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation, lifecycle, placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.apply import PresentOperation
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import HostFacts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.operations import (
    AbsentOperation,
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
    lifecycle.PAUSED: PausedOperation.of,
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
        self._stop_growing(self.places.quotas.over_quota(self._possible_specs().values(), leaving))

    def reserve(self) -> None:
        """Write the promises of virtual clusters whose resources are about to change, and check the quotas again."""
        hosts, leaving = {}, defaultdict(list)
        for one in self._possible():
            operation = self.operations[one.namespace]
            if isinstance(operation, PresentOperation) and operation.plan.changes_resources:
                hosts[one.namespace] = one.host.name
            elif one.desired.state == ABSENT:
                leaving[one.desired.tenant].append(one.namespace)
        self._stop_growing(self.places.quotas.reserve(self._possible_specs().values(), hosts, leaving))

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
        for name, spec in self._possible_specs().items():
            problem, lines = attempt(partial(self._below_use, spec))
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
        if desired.state == PRESENT and not self.context.check_mode:
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
        elif desired.state == PRESENT:
            self.specs[desired.namespace] = spec = self.places.spec_of(desired.options)
            if spec.datastore:
                self.context.secret(spec.datastore.endpoint, spec.datastore.password)

    def _find(self, desired: DesiredVCluster) -> PlacedVCluster:
        decision, found = self.decisions.get(desired.namespace), self.places.found.get(desired.namespace)
        wanted = host_of(decision) if decision else desired.host
        host = self.places.host_of(desired.tenant, desired.namespace, wanted)
        return PlacedVCluster(desired, host, found, found.record if found else NO_RECORD)

    def _stop_growing(self, problems: dict[str, TenantryError]) -> None:
        for name, spec in self._possible_specs().items():
            if spec.tenant in problems and self.places.quotas.grows(spec):
                self._stop(name, problems[spec.tenant])

    def _execute(self, desired: list[DesiredVCluster]) -> list[dict]:
        rows = run_each(self.context.hub, desired, self.known, self.row)
        if not self.context.check_mode:
            self.settle(rows)
        return rows

    def _taking(self) -> set[str]:
        """Return those that grow and have no room yet: only when others of the call have shrunk or are gone."""
        growing = [spec for spec in self._possible_specs().values() if self.places.quotas.grows(spec)]
        short = self.places.quotas.over_quota(growing, [])
        return {spec.namespace for spec in growing if spec.tenant in short}

    def _check_freed(self, later: set[str], rows: list[dict]) -> None:
        """Stop those of `later` that have no room after these rows either."""
        done = self._done(rows)
        tenants = {self.specs[name].tenant for name in later}
        counted = [
            spec
            for name, spec in self._possible_specs().items()
            if spec.tenant in tenants and (name in later or name in done)
        ]
        self._stop_growing(self.places.quotas.over_quota(counted, [name for name, spec in done.items() if not spec]))

    def _done(self, rows: list[dict]) -> dict[str, VClusterSpec | None]:
        """Return what has been applied by these rows: None for those that are gone."""
        states = {PRESENT, ABSENT} if self.options.wait else {PRESENT}
        succeeded = [row for row in rows if row["state"] in states and not row.get("error")]
        return {row["namespace"]: self.specs.get(row["namespace"]) for row in succeeded}

    def _below_use(self, spec: VClusterSpec) -> list[str]:
        return list(self.places.quotas.lowered_below_use([spec]))

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

    def _stop(self, namespace: str, problem: TenantryError | str) -> None:
        self.stopped[namespace] = Stopped.by(problem)

    def _stop_placed(self, placed: PlacedVCluster, problem: TenantryError) -> None:
        self._stop(placed.namespace, problem)
