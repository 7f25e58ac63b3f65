# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to change for each virtual cluster of a call, found out before the first is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import RIGHTS_DELAY, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, insist, is_forbidden
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, check_each
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.restore_etcd import interrupted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import delete as _vcluster_removal
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import drain as _vcluster_drain
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import keys as _vcluster_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import lifecycle as _vcluster_states
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import Found, Places, Surroundings
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    STATEFUL_SET,
    AdministratorsKubeconfig,
    Inside,
    open_inside,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster as _render_vcluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure as _render_exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as _render_syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    AGENT,
    API_SERVICE,
    JOIN_TOKEN,
    SERVER,
    Rendering,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLAIMS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import VOLUME_CLAIM
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VCluster, check_change
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
    rendering: Rendering | None = None
    rights: Plan | None = None  # where a member's platform has lost those to the namespace
    plan: Plan | None = None
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
        return _names.vcluster_namespace(self.tenant, self.name)

    @property
    def claims(self) -> list[dict]:
        """Of its volumes, as they are known now."""
        names = CLAIMS if self.spec.etcd else (VOLUME_CLAIM,)
        found = (self.plan.object(CLAIM, name, self.namespace) for name in names)
        return [claim for claim in found if claim]

    @property
    def actions(self) -> list[dict]:
        before = self.rights.rows() if self.rights else []
        if self.upgrade:
            before.append(self.upgrade.row())
        after = [*_vcluster_drain.rows(self.leaving), *self.renewals]
        return [*before, *self.plan.rows(), *after, *(self.inside.rows() if self.inside else [])]

    @property
    def diffs(self) -> list[dict]:
        plans = [self.rights, self.plan, self.inside.plan if self.inside else None]
        return [plan.diff() for plan in plans if plan]


def namespace_of(job: Job) -> str:
    return job.namespace


def plan_all(context: Context, places: Places, jobs: list[Job]) -> None:
    hosts = {job.host.name: job.host for job in jobs if job.spec}
    sharing = {job.host.name for job in jobs if job.spec and job.spec.shared}
    around = context.hub.map(lambda host: Surroundings.of(host, shared=host.name in sharing), hosts.values())
    surroundings = dict(zip(hosts, around, strict=True))

    def check(job: Job) -> str:
        around, found = surroundings[job.host.name], places.found.get(job.namespace)
        record = found.record if found else {}
        job.spec = around.settled(job.spec)
        check_change(record, job.spec)
        job.exposed_before = record.get("expose")
        if problem := around.hole(job.spec):
            context.warn(f"{job.namespace}: {problem}")
        if found and (snapshot := interrupted(found.namespace)):
            context.warn(
                f"{job.namespace}: a restore of snapshot {snapshot} was interrupted, and its etcd may not start "
                "before it is run again (tenantry.kube.vcluster_snapshot)"
            )
        if job.spec.datastore and record.get("version", job.spec.version) != job.spec.version:
            context.warn(
                f"{job.namespace}: nothing is kept from before the upgrade, because what it knows is in "
                f"{job.spec.datastore.place}; the way back is a backup of that database"
            )
        return around.published_address(job.spec, record)

    def plan(job: Job) -> None:
        found = places.found.get(job.namespace)
        if job.state == "present":
            job.rendering = Rendering(
                job.spec,
                _vcluster_keys.new(job.spec),
                address=addresses[job.namespace],
                member=job.host.name != _names.HUB,
                host=surroundings[job.host.name].networks,
            )
            _plan(context, job, found)
        elif job.state == "absent":
            check_may_be_deleted(job.namespace, found.record if found else {})
            job.plan = _vcluster_removal.plan(job.host, job.tenant, job.name)
        else:
            job.plan = _vcluster_states.plan(found, job.state, job.namespace, datetime.now(UTC))

    staying = [job for job in jobs if job.spec]
    checked = check_each(staying, check, name=namespace_of)
    addresses = {job.namespace: address for job, address in zip(staying, checked, strict=True)}
    check_each(jobs, plan, name=namespace_of, each=context.hub.map)


def _plan(context: Context, job: Job, found: Found | None) -> None:
    if found:
        if job.rendering.member and not _has_rights(context, job):
            return
        job.rendering = _with_what_is_kept(job)
    kept = job.rendering.keys
    context.secret(*kept.secrets)
    job.plan = make_plan(job)
    for claim in job.claims:
        check_volume(job.host, job.spec, claim)
    if job.kubeconfig_path:
        job.kubeconfig = AdministratorsKubeconfig(job.kubeconfig_path, job.namespace, job.rendering.labels)
    server = job.plan.object(STATEFUL_SET, SERVER, job.namespace)
    job.paused = _vcluster_states.is_paused(server)
    if found and job.spec.lasting and job.spec.datastore is None:
        job.upgrade = upgrade_of(job.host, found.namespace, job.spec.version, server)
    agents = job.plan.object(STATEFUL_SET, AGENT, job.namespace)
    job.leaving = [] if job.paused else _vcluster_drain.leaving(agents, job.spec.agents)
    if found and context.check_mode and kept.ca and not job.paused:
        _look_inside(context, job)


def _has_rights(context: Context, job: Job) -> bool:
    """
    Whether the platform may look into the namespace on a member, after giving it back that right if it is missing:
    a run was killed before it was given, or somebody took it away. A check cannot go on without.
    """
    rights = Plan.make(job.host, [_render_vcluster.platform_binding(job.rendering)])
    if not rights.changed:
        return True
    if context.check_mode:
        context.warn(f"{job.namespace}: what else would change is not known before the platform has its rights again")
        job.plan = rights
        return False
    rights.execute()
    job.rights = rights
    insist(lambda: job.host.get("v1/Secret", JOIN_TOKEN, job.namespace), is_forbidden, Deadline(RIGHTS_DELAY))
    return True


def _with_what_is_kept(job: Job) -> Rendering:
    """With the keys that the namespace holds and the addresses its Services have."""
    kept, job.has_keys = _vcluster_keys.kept(job.host, job.spec)
    return with_addresses(replace(job.rendering, keys=kept), job.host)


def with_addresses(rendering: Rendering, host: Cluster) -> Rendering:
    """With the addresses that the Services of its foundation have; none of a Service that is not there (yet)."""

    def address(name: str) -> str:
        service = host.get("v1/Service", name, rendering.namespace)
        return service["spec"]["clusterIP"] if service else ""

    if rendering.spec.exposure.type == CLUSTER_IP:
        rendering = replace(rendering, cluster_ip=address(API_SERVICE))
    if rendering.spec.exposure.type == LOAD_BALANCER and not rendering.spec.exposure.address:
        given = _render_exposure.balancer_address(host.get("v1/Service", API_SERVICE, rendering.namespace) or {})
        rendering = replace(rendering, address=given or rendering.address)
    if rendering.spec.shared:
        names = (_render_syncer.KUBERNETES_SERVICE, _render_syncer.DNS_SERVICE)
        kubernetes_ip, dns_ip = host.map(address, names)
        rendering = replace(rendering, kubernetes_ip=kubernetes_ip, dns_ip=dns_ip)
    return rendering


def make_plan(job: Job) -> Plan:
    """Of the rendering as it is now."""
    owned = _names.selector("vcluster", tenant=job.tenant, vcluster=job.name)
    return Plan.make(
        job.host,
        _render_vcluster.everything(job.rendering),
        owned=owned,
        prune_kinds=(*_render_vcluster.KINDS, *_render_exposure.kinds(job.spec.exposure.type, job.exposed_before)),
        namespace=job.namespace,
    )


def _look_inside(context: Context, job: Job) -> None:
    """For a check: what would be done inside. One that does not answer now cannot be foreseen further."""
    try:
        job.inside = open_inside(job.host, job.rendering)
    except ApiError as error:
        context.warn(f"{job.namespace}: what would change inside is not known: {error}")
