# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to change for each virtual cluster of a call, found out before the first is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    Obstacle,
    TenantryError,
    require,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import is_address
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD, written_on
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import RIGHTS_DELAY, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, insist, is_forbidden
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    beside_each_other,
    check_each,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import delete, drain, keys, lifecycle
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.admin_kubeconfig import AdministratorsKubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd import interrupted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Places
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    Inside,
    open_inside,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import Surroundings
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, exposure, syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_SERVICE,
    JOIN_TOKEN,
    Rendering,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLAIMS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import NAMES as MEMBERS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import VOLUME_CLAIM
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import (
    VCluster,
    check_change,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import Datastore
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import CLUSTER_IP, LOAD_BALANCER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import check_may_be_deleted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.upgrade import Upgrade, upgrade_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import CLAIM, check_volume


@dataclass
class Job:
    """One item of a call: what is wanted, where, and what it takes."""

    item: dict
    spec: VCluster | None = None  # known when it is placed; None stays what shall not be present
    host: Cluster | None = None
    problem: str | None = None
    refused: bool = False  # by what is asked for: it is not enough to try again
    rendering: Rendering | None = None
    rights: Plan | None = None  # where a member's platform has lost those to the namespace
    plan: Plan | None = None  # of one that shall be present or absent
    turn: lifecycle.Turn | None = None  # of one that shall be paused or restarted
    has_keys: bool = False  # they are stored
    paused: bool = False  # until now
    exposed_before: str | None = None
    upgrade: Upgrade | None = None
    leaving: list[str] = field(default_factory=list)  # nodes to drain
    renewals: list[dict] = field(default_factory=list)
    inside: Inside | None = None
    kubeconfig: AdministratorsKubeconfig | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def tenant(self) -> str:
        return self.item["tenant"]

    @property
    def name(self) -> str:
        return self.item["name"]

    @property
    def state(self) -> str:
        return self.item["state"]

    @property
    def kubeconfig_path(self) -> str | None:
        return self.item["kubeconfig_path"]

    @property
    def namespace(self) -> str:
        return naming.vcluster_namespace(self.tenant, self.name)

    # What an earlier step has made sure of.

    @property
    def known_spec(self) -> VCluster:
        return require(self.spec, f"the spec of {self.namespace}")

    @property
    def known_host(self) -> Cluster:
        return require(self.host, f"the host of {self.namespace}")

    @property
    def known_rendering(self) -> Rendering:
        return require(self.rendering, f"the rendering of {self.namespace}")

    @property
    def known_plan(self) -> Plan:
        return require(self.plan, f"the plan of {self.namespace}")

    @property
    def known_turn(self) -> lifecycle.Turn:
        return require(self.turn, f"the plan of {self.namespace}")

    @property
    def known_inside(self) -> Inside:
        return require(self.inside, f"the connection to {self.namespace}")

    def stop(self, problem: TenantryError | str) -> None:
        """By what was found where it is: only what is there."""
        self.problem = f"{self.namespace}: {problem}"
        self.refused = not isinstance(problem, (Obstacle, str))

    @property
    def claims(self) -> list[dict]:
        """Of its volumes, as they are known now."""
        names = CLAIMS if self.known_spec.etcd else (VOLUME_CLAIM,)
        found = (self.known_plan.object(CLAIM, name, self.namespace) for name in names)
        return [claim for claim in found if claim]

    @property
    def actions(self) -> list[dict]:
        before = self.rights.rows() if self.rights else []
        if self.upgrade:
            before.append(self.upgrade.row())
        after = [*drain.rows(self.leaving), *self.renewals]
        planned = self.known_turn.rows() if self.plan is None else self.plan.rows()
        return [*before, *planned, *after, *(self.inside.rows() if self.inside else [])]

    @property
    def diffs(self) -> list[dict]:
        plans = [self.rights, self.plan, self.turn, self.inside.plan if self.inside else None]
        return [plan.diff() for plan in plans if plan]


def namespace_of(job: Job) -> str:
    return job.namespace


def plan_all(context: Context, places: Places, jobs: list[Job]) -> None:
    hosts = {job.known_host.name: job.known_host for job in jobs if job.spec}
    sharing = {job.known_host.name for job in jobs if job.spec and job.spec.shared}
    surroundings: dict[str, Surroundings] = {}

    def look(host: Cluster) -> None:
        problem, around = attempt(lambda: Surroundings.of(host, shared=host.name in sharing))
        if around:
            surroundings[host.name] = around
        if problem:
            for job in jobs:
                if job.host is host and job.spec:
                    job.stop(problem)

    context.hub.map(look, hosts.values())

    def check(job: Job) -> str:
        around, found = surroundings[job.known_host.name], places.found.get(job.namespace)
        record = found.record if found else NO_RECORD
        job.spec = spec = around.settled(job.known_spec)
        check_change(record, spec)
        job.exposed_before = record.expose
        if problem := around.hole(spec):
            context.warn(f"{job.namespace}: {problem}")
        if found and (snapshot := interrupted(found.namespace_object)):
            context.warn(
                f"{job.namespace}: a restore of snapshot {snapshot} was interrupted, and its etcd may not start "
                "before it is run again (tenantry.kube.vcluster_snapshot)"
            )
        if spec.datastore and record.version not in (None, spec.version):
            context.warn(
                f"{job.namespace}: nothing is kept from before the upgrade, because what it knows is in "
                f"{spec.datastore.place}; the way back is a backup of that database"
            )
        return around.published_address(spec, record)

    def plan(job: Job) -> None:
        found = places.found.get(job.namespace)
        if job.state == "present":
            host, spec = job.known_host, job.known_spec
            job.rendering = Rendering(
                spec,
                keys.new(spec),
                address=addresses[job.namespace],
                member=host.name != naming.HUB,
                host=surroundings[host.name].networks,
                storage_classes=surroundings[host.name].storage_classes,
                datastore_ip=_datastore_address(host, spec.datastore),
                recorded=written_on(found.namespace_object) if found else "",
            )
            _plan(context, job, found)
        elif job.state == "absent":
            check_may_be_deleted(job.namespace, found.record if found else NO_RECORD)
            job.plan = delete.plan(job.known_host, job.tenant, job.name)
        else:
            job.turn = lifecycle.plan(found, job.state, job.namespace, datetime.now(UTC))

    staying = [job for job in jobs if job.spec and not job.problem]
    checked = check_each(staying, check, name=namespace_of, found=Job.stop)
    addresses = {job.namespace: address for job, address in zip(staying, checked, strict=True) if address is not None}
    possible = [job for job in jobs if not job.problem]
    check_each(possible, plan, name=namespace_of, each=beside_each_other, found=Job.stop)


def _plan(context: Context, job: Job, found: VirtualCluster | None) -> None:
    if found:
        if job.known_rendering.member and not _has_rights(context, job):
            return
        job.rendering = _with_what_is_kept(job)
    host, spec, rendering = job.known_host, job.known_spec, job.known_rendering
    kept = rendering.keys
    context.secret(*kept.secrets)
    job.plan = plan = make_plan(job)
    for claim in job.claims:
        check_volume(host, spec, claim)
    if job.kubeconfig_path:
        job.kubeconfig = AdministratorsKubeconfig(job.kubeconfig_path, job.namespace, rendering.labels)
    server = plan.object(STATEFUL_SET, SERVER, job.namespace)
    job.paused = lifecycle.is_paused(server)
    if found and spec.lasting and spec.datastore is None:
        job.upgrade = upgrade_of(found, spec.version, server)
    agents = plan.object(STATEFUL_SET, AGENT, job.namespace)
    job.leaving = [] if job.paused else drain.leaving(agents, spec.agents)
    if found and context.check_mode and kept.ca and not job.paused:
        _look_inside(context, job)


def _datastore_address(host: Cluster, datastore: Datastore | None) -> str:
    """Of a database that is a Service of the host, whose names its servers do not look up."""
    if datastore is None or datastore.namespace is None:
        return ""
    name = datastore.host.partition(".")[0]
    service = host.get("v1/Service", name, datastore.namespace)
    if service is None:
        raise Obstacle(
            f"datastore.endpoint: host {host.name} has no Service {name} in namespace {datastore.namespace}. "
            "Create it first, or give the address of the database"
        )
    address = service["spec"].get("clusterIP", "")
    if not is_address(address):
        raise Obstacle(
            f"datastore.endpoint: Service {name} in namespace {datastore.namespace} of host {host.name} has no cluster "
            "IP. Name a Service that has one, or give the address of the database and datastore.networks"
        )
    return address


def _has_rights(context: Context, job: Job) -> bool:
    """
    Whether the platform may look into the namespace on a member, after giving it back that right if it is missing:
    a run was killed before it was given, or somebody took it away. A check cannot go on without.
    """
    host = job.known_host
    rights = Plan.make(host, [cluster.platform_binding(job.known_rendering)])
    if not rights.changed:
        return True
    if context.check_mode:
        context.warn(f"{job.namespace}: what else would change is not known before the platform has its rights again")
        job.plan = rights
        return False
    rights.execute()
    job.rights = rights
    insist(lambda: host.get("v1/Secret", JOIN_TOKEN, job.namespace), is_forbidden, Deadline(RIGHTS_DELAY))
    return True


def _with_what_is_kept(job: Job) -> Rendering:
    """With the keys that the namespace holds and the addresses its Services have."""
    kept, job.has_keys = keys.kept(job.known_host, job.known_spec)
    return with_addresses(replace(job.known_rendering, keys=kept), job.known_host)


def with_addresses(rendering: Rendering, host: Cluster) -> Rendering:
    """With the addresses that the Services of its foundation have; none of a Service that is not there (yet)."""

    def address(name: str) -> str:
        service = host.get("v1/Service", name, rendering.namespace)
        return service["spec"]["clusterIP"] if service else ""

    if rendering.spec.exposure.type == CLUSTER_IP or rendering.spec.agents:
        rendering = replace(rendering, cluster_ip=address(API_SERVICE))
    if rendering.spec.exposure.type == LOAD_BALANCER and not rendering.spec.exposure.address:
        given = exposure.balancer_address(host.get("v1/Service", API_SERVICE, rendering.namespace) or {})
        rendering = replace(rendering, address=given or rendering.address)
    if rendering.spec.shared:
        names = (syncer.KUBERNETES_SERVICE, syncer.DNS_SERVICE, SYNCER)
        kubernetes_ip, dns_ip, syncer_ip = host.map(address, names)
        rendering = replace(rendering, kubernetes_ip=kubernetes_ip, dns_ip=dns_ip, syncer_ip=syncer_ip)
    if rendering.spec.etcd:
        rendering = replace(rendering, etcd_ips=tuple(host.map(address, MEMBERS)))
    return rendering


def make_plan(job: Job) -> Plan:
    """Of the rendering as it is now."""
    owned = naming.selector("vcluster", tenant=job.tenant, vcluster=job.name)
    return Plan.make(
        job.known_host,
        cluster.everything(job.known_rendering),
        owned=owned,
        prune_kinds=(*cluster.KINDS, *exposure.kinds(job.known_spec.exposure.type, job.exposed_before)),
        namespace=job.namespace,
    )


def _look_inside(context: Context, job: Job) -> None:
    """For a check: what would be done inside. One that does not answer now cannot be foreseen further."""
    try:
        job.inside = open_inside(job.known_host, job.known_rendering)
    except ApiError as error:
        context.warn(f"{job.namespace}: cannot predict changes in the virtual cluster: {error}")
