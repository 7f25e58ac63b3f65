# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The quotas of tenants over the fleet: what is promised, what is used, what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from uuid import uuid4

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import counted_in
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.registry import Fleet
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import RESOURCE_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import (
    allocation,
    corrections,
    promises,
    resources_in_use,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.corrections import Correction, Reality
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import quota_of
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import Promise


class Unreachable(Obstacle):
    """A host does not answer, so what it has is not known."""


class FleetQuotas:
    """What the virtual clusters of each tenant have of its quota, on hosts that answer or not."""

    def __init__(
        self,
        fleet: Fleet,
        records: dict[str, dict],  # of tenants, read before the virtual clusters
        found: Mapping[str, VirtualCluster],  # by namespace
        unreachable: Mapping[str, str],  # why, by name of the host
    ) -> None:
        self.fleet, self.records, self.found, self.unreachable = fleet, records, found, unreachable
        self._quotas: dict[str, dict[tuple[str, str], dict]] = {}
        self._admitted: dict[str, tuple[str, Mapping[str, str]]] = {}  # tenant and resources, by namespace
        self._run = uuid4().hex[:8]
        self._written: dict[str, dict[str, Promise]] = {}  # by this run, by tenant and namespace
        self._shared: set[str] = set()  # namespaces that another run may be changing too
        # Of these the promises are lost or were never written, and the hosts have all that is to know.
        self._rebuilt = {one for one in records if not unreachable and not promises.are_kept(records[one])}
        self._incomparable: dict[str, str] = {}  # why the promises could not be compared with the hosts, by tenant
        self._corrections = {tenant: self._find_corrections(tenant, record) for tenant, record in records.items()}
        self._promises = {tenant: self._corrected(tenant, record) for tenant, record in records.items()}

    def promise(self, tenant: str, namespace: str) -> Promise | None:
        """Return what is promised to a virtual cluster, as corrected by what the hosts have."""
        return self._promises.get(tenant, {}).get(namespace)

    def are_known(self, tenant: str) -> bool:
        """Return whether all virtual clusters of the tenant are known, also those on hosts that do not answer."""
        return not self.unreachable or (tenant in self.records and promises.are_kept(self.records[tenant]))

    def correct(self, context: Context) -> None:
        """Correct the promises that differ from what the hosts have. Warn of each."""

        def store(tenant: str) -> list[str]:
            if tenant in self._incomparable:
                return [self._incomparable[tenant]]
            found, record = self._corrections[tenant], self.records[tenant]
            problem = promises.problem(record)
            if not context.check_mode:
                change = partial(corrections.corrected, corrections=found)
                record = promises.update(self.fleet.hub, record, change, rebuild=tenant in self._rebuilt)
                self._see(tenant, record)
                known = promises.of(record)  # of what has changed meanwhile, nothing is known
                found = [one for one in found if known.get(one.namespace) == one.after]
            return [line for line in (problem, *(one.warning for one in found)) if line]

        for problem, warnings in self.fleet.hub.map(lambda tenant: attempt(lambda: store(tenant)), [*self.records]):
            for line in [problem] if problem else warnings or []:
                context.warn(line)

    def over_quota(self, wanted: Iterable[Wanted], leaving: Iterable[str]) -> dict[str, TenantryError]:
        """Return an error by tenant for quotas that have no room.

        The wanted specs replace the recorded ones, `leaving` are deleted.
        """
        asked, gone = _by_tenant(wanted), set(leaving)
        found = ((tenant, _error_of(partial(self._check, tenant, specs, gone))) for tenant, specs in asked.items())
        return {tenant: error for tenant, error in found if error}

    def admit(self, spec: Wanted, leaving: Iterable[str]) -> None:
        """Raise a TenantryError if the quota has no room, else count this one for those that follow."""
        if problem := self.over_quota([spec], leaving).get(spec.tenant):
            raise problem
        self._admitted[spec.namespace] = (spec.tenant, spec.resources)

    def reserve(
        self, wanted: Iterable[Wanted], hosts: Mapping[str, str], leaving: Mapping[str, Collection[str]]
    ) -> dict[str, TenantryError]:
        """Write the promises of virtual clusters that are about to change, so that concurrent runs count them too.

        `hosts` has the host of those whose resources are written, `leaving` those to be deleted by tenant. Return an
        error by tenant for quotas that have no room any more.
        """
        asked = _by_tenant(wanted)
        problems = {}
        for tenant in [one for one in self.records if one in asked or one in leaving]:
            specs = {name: spec for name, spec in asked.get(tenant, {}).items() if name in hosts}
            gone = set(leaving.get(tenant, ()))
            if error := _error_of(partial(self._reserve, tenant, asked.get(tenant, {}), specs, hosts, gone)):
                problems[tenant] = error
        return problems

    def renew(self, tenant: str, namespace: str) -> None:
        """Let what this run has promised last from now on. Raise an Obstacle if another run has taken it meanwhile."""
        written = self._written.get(tenant, {}).get(namespace)
        if written is None or not written.ends_soon(self._run):
            return

        def lasts(one: Promise) -> bool:
            return one.host == written.host and allocation.fits(written.resources, one.resources)

        def change(before: dict[str, Promise]) -> dict[str, Promise]:
            one = before.get(namespace)
            if one != written:
                self._shared.add(namespace)
            return {**before, namespace: one.renewed(self._run)} if one and lasts(one) else before

        record = promises.update(self.fleet.hub, self.records[tenant], change)
        now = promises.of(record).get(namespace)
        if now is None or not lasts(now):
            raise Obstacle(
                f"quota of tenant {tenant}: another run has taken what was promised to {namespace}, because this run "
                "took too long. Run again"
            )
        self._see(tenant, record)
        self._written[tenant][namespace] = now

    def settle(
        self,
        done: Mapping[str, Wanted | None],
        failed: Collection[str] = (),
        stopped: Collection[str] = (),
    ) -> None:
        """Note what has been applied: the resources of these virtual clusters, None for those that are gone.

        Of those that failed, the next run that reaches the host notes what it has. Those that were stopped before they
        began have what they had.
        """
        problems = [_error_of(partial(self._settle, tenant, done, failed, stopped)) for tenant in self._written]
        self._quotas.clear()
        if any(problems):
            raise Obstacle("; ".join(str(error) for error in problems if error))

    def lowered_below_use(self, specs: Iterable[Wanted]) -> Iterator[str]:
        """Yield a warning for each virtual cluster whose resources are reduced below its use."""
        for spec in specs:
            found, asked = self.found.get(spec.namespace), spec.resources
            if not found or allocation.fits(found.record.resources, asked):
                continue
            used = resources_in_use.in_use(dict.fromkeys(asked, "0"), self._quota(found))
            over = [
                f"{key} {used[key]} of {asked[key]}" for key in asked if not allocation.fits_in(used[key], asked[key])
            ]
            if over:
                yield (
                    f"{spec.namespace}: resources: below the current use ({', '.join(over)}). The use counts against "
                    "the quota. Delete pods or volumes in the virtual cluster to free it"
                )

    def grows(self, spec: Wanted) -> bool:
        """Return whether it is new, or gets more of any resource than it has."""
        found, promise = self.found.get(spec.namespace), self.promise(spec.tenant, spec.namespace)
        asked, record = spec.resources, self.records.get(spec.tenant)
        limited = quota_of(record) if record else asked
        if found is None:
            return True
        has = {**(promise.resources if promise else {}), **found.record.counted}
        if limited.keys() & asked.keys() - has.keys():  # neither has all: in mode dedicated, or of earlier releases
            quota = attempt(lambda: self._quota(found))[1] or {}
            has = {**counted_in(quota.get("spec", {}).get("hard") or {}), **has}
        if not allocation.fits(asked, has, limited):
            return True
        if promise is None:
            return False
        # Lowered by a concurrent run. In mode dedicated and of earlier releases, a promise may not have all names.
        whole = "ephemeral_storage" in promise.resources
        names = limited if whole else limited.keys() & promise.resources.keys()
        return not allocation.fits(asked, promise.resources, names)

    def _check(self, tenant: str, specs: dict[str, Wanted], gone: set[str]) -> None:
        if tenant not in self.records or not any(map(self.grows, specs.values())):
            return  # a quota below the use stops growth, but not updates of existing virtual clusters
        if tenant in self._incomparable:
            raise Obstacle(self._incomparable[tenant])
        if not self.are_known(tenant):
            raise Unreachable(
                f"quota of tenant {tenant}: its record does not have all virtual clusters yet, and cannot be completed "
                f"while {', '.join(self.unreachable)} does not answer: {'; '.join(self.unreachable.values())}"
            )
        mine = {name: found for name, found in self.found.items() if found.tenant == tenant and name not in gone}
        others = {
            name: self._resources(found) or found.record.counted for name, found in mine.items() if name not in specs
        }
        promised = self._promises[tenant]
        for name in promised.keys() - specs.keys() - gone:
            answers = name in mine  # then what is in use is known better
            amounts = promised[name].resources if answers else promised[name].counted
            others[name] = allocation.larger(others.get(name, {}), amounts)
        others |= {
            name: resources_in_use.taken(others[name], self._quota(mine[name])) for name in others if name in mine
        }
        admitted = {name: part for name, (owner, part) in self._admitted.items() if owner == tenant}
        for name in admitted.keys() - specs.keys():
            others[name] = allocation.larger(others.get(name, {}), admitted[name])
        asked = {name: spec.resources for name, spec in specs.items()}
        # What a concurrent run is about to apply counts until that has ended.
        held = {name: one.resources for name, one in promised.items() if name in asked and one.held_beside(self._run)}
        asked |= {name: allocation.larger(asked[name], amounts) for name, amounts in held.items()}
        asked |= {name: resources_in_use.in_use(asked[name], self._quota(mine[name])) for name in asked if name in mine}
        quota = quota_of(self.records[tenant])
        allocation.check(tenant, quota, allocation.total(others.values()), allocation.total(asked.values()))

    def _reserve(
        self,
        tenant: str,
        asked: dict[str, Wanted],
        changing: dict[str, Wanted],
        hosts: Mapping[str, str],
        gone: set[str],
    ) -> None:
        def change(before: dict[str, Promise]) -> dict[str, Promise]:
            after = corrections.corrected(before, self._corrections[tenant])
            self._shared.update(name for name in (changing.keys() | gone) & after.keys() if after[name].held)
            for name, spec in changing.items():
                after[name] = self._pending(spec, hosts[name], after.get(name))
            for name in gone & after.keys():
                if not after[name].held:
                    after[name] = after[name].leaving()
            return after

        def check(record: dict) -> None:
            self._see(tenant, record)
            self._check(tenant, asked, gone)

        if self.are_known(tenant) and (changing or gone & self._promises[tenant].keys()):
            rebuild = tenant in self._rebuilt
            record = promises.update(self.fleet.hub, self.records[tenant], change, check, rebuild=rebuild)
            self._see(tenant, record)
            now = promises.of(record)
            mine = changing.keys() | (gone - self._shared)
            self._written[tenant] = {name: now[name] for name in mine & now.keys()}

    def _settle(
        self,
        tenant: str,
        done: Mapping[str, Wanted | None],
        failed: Collection[str],
        stopped: Collection[str],
    ) -> None:
        written = self._written[tenant]
        known: dict[str, Promise | None] = {}  # what is promised from now on, if no other run has changed it
        for name, promise in written.items():
            if name in done:
                known[name] = self._settled(promise, done[name], name)
            elif name in stopped:
                known[name] = self._unchanged(name)
            elif name in failed:
                known[name] = promise.without(self._run)

        def change(before: dict[str, Promise]) -> dict[str, Promise]:
            after = {}
            for name, one in before.items():
                if name not in known:
                    after[name] = one
                elif name in self._shared or one != written[name]:
                    after[name] = one.without(self._run)  # the next run notes what it has
                elif settled := known[name]:
                    after[name] = settled
            return after

        if known:
            self._see(tenant, promises.update(self.fleet.hub, self.records[tenant], change))

    def _pending(self, spec: Wanted, host: str, promise: Promise | None) -> Promise:
        """Return the promise for the time until the spec is applied: until then, more may be used."""
        if promise and promise.held and promise.host not in ("", host):
            raise Obstacle(
                f"host: a concurrent run creates {spec.namespace} on {promise.host}. Set host {promise.host}, or run "
                "again later"
            )
        found = self.found.get(spec.namespace)
        amounts = allocation.larger(spec.resources, found.record.counted if found else {})
        wanted = Promise.of(host, allocation.larger(amounts, promise.counted if promise else {}), run=self._run)
        return wanted.beside(promise) if promise else wanted

    def _settled(self, promise: Promise, spec: Wanted | None, namespace: str) -> Promise | None:
        if spec is None:
            return None
        resources = spec.resources
        if allocation.fits(promise.resources, resources):
            return Promise.of(promise.host, resources)
        # Until its ResourceQuota has the lower limits, the use may still grow up to the former ones.
        host = self.fleet.cluster(promise.host)
        problem, quota = attempt(lambda: host.get(RESOURCE_QUOTA, resources_in_use.VCLUSTER_QUOTA, namespace))
        if problem:
            return promise
        return Promise.of(promise.host, resources, in_use=resources_in_use.taken(resources, quota or {}))

    def _unchanged(self, namespace: str) -> Promise | None:
        """Return the promise of a virtual cluster as it was found."""
        found = self.found.get(namespace)
        return Promise.of(found.host.name, found.record.counted, in_use=self._in_use(found)) if found else None

    def _see(self, tenant: str, record: dict) -> None:
        self.records[tenant] = record
        self._promises[tenant] = self._corrected(tenant, record)

    def _corrected(self, tenant: str, record: dict) -> dict[str, Promise]:
        return corrections.corrected(promises.of(record), self._corrections[tenant])

    def _find_corrections(self, tenant: str, record: dict) -> list[Correction]:
        problem, found = attempt(lambda: self._differences(tenant, record))
        if problem:
            self._rebuilt.discard(tenant)
            self._incomparable[tenant] = f"promises of tenant {tenant}: cannot be compared with the hosts: {problem}"
        return found or []

    def _differences(self, tenant: str, record: dict) -> list[Correction]:
        kept = promises.are_kept(record)
        if not kept and tenant not in self._rebuilt:
            return []
        found = {name: one for name, one in self.found.items() if one.tenant == tenant}
        names = self.fleet.names() if promises.of(record) else ()
        reality = Reality(found, names, self.unreachable, self._resources, self._in_use)
        differences = corrections.find(promises.of(record), reality)
        if kept:
            return list(differences)
        return [Correction(one.namespace, one.before, one.after) for one in differences]

    def _resources(self, found: VirtualCluster) -> Mapping[str, str] | None:
        if not found.record_problem:
            return found.record.counted
        _problem, quota = attempt(lambda: self._quota(found))
        return attempt(lambda: resources_in_use.promised_to(found, quota))[1] if quota else None

    def _in_use(self, found: VirtualCluster) -> Mapping[str, str] | None:
        recorded = found.readable_record.counted
        return attempt(lambda: resources_in_use.taken(recorded, self._quota(found)))[1]

    def _quota(self, found: VirtualCluster) -> dict:
        """Return the ResourceQuota of a virtual cluster, read once per tenant and only if needed."""
        if found.tenant not in self._quotas:
            hosts = (one.host for one in self.found.values() if one.tenant == found.tenant)
            self._quotas[found.tenant] = resources_in_use.quotas(self.fleet.hub, hosts, found.tenant)
        return self._quotas[found.tenant].get((found.host.name, found.namespace)) or {}


def no_room(wanted: Wanted, problem: TenantryError) -> TenantryError:
    """Return the error for a paused virtual cluster that the quota has no room for."""
    return TenantryError(f"{wanted.namespace} is paused and has no room to resume: {problem}")


def _error_of(check: partial[None]) -> TenantryError | None:
    """Return the error that a check raises."""
    try:
        check()
    except TenantryError as error:
        return error
    return None


def _by_tenant(specs: Iterable[Wanted]) -> dict[str, dict[str, Wanted]]:
    asked: dict[str, dict[str, Wanted]] = defaultdict(dict)
    for spec in specs:
        asked[spec.tenant][spec.namespace] = spec
    return asked
