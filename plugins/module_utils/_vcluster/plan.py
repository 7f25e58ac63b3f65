# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a virtual cluster that is to be present, before anything of the call is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import is_address
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord, written_on
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import RIGHTS_DELAY, Action, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    PVC,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, is_forbidden, retry
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation, drain, keys, lifecycle
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.admin_kubeconfig import AdministratorsKubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd import interrupted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import GuestCluster, connect_guest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import HostFacts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, exposure, syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_SERVICE,
    JOIN_TOKEN,
    RenderContext,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLAIMS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import NAMES as MEMBERS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import VOLUME_CLAIM
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import PlacedVCluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec, check_change
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import Datastore
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import CLUSTER_IP, LOAD_BALANCER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.upgrade import Upgrade, upgrade_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.volume import check_volume


@dataclass(frozen=True)
class CheckedVCluster:
    """A request that its host and record allow."""

    placed: PlacedVCluster
    spec: VClusterSpec
    facts: HostFacts
    address: str

    def rendering(self) -> RenderContext:
        """Return the context of a new virtual cluster: with new keys, without addresses of its Services."""
        host, found = self.placed.host, self.placed.found
        return RenderContext(
            self.spec,
            keys.new(self.spec),
            address=self.address,
            account=self.facts.has_account,
            host=self.facts.networks,
            storage_classes=self.facts.storage_classes,
            datastore_ip=_datastore_address(host, self.spec.datastore),
            recorded=written_on(found.namespace_object) if found else "",
        )


@dataclass(frozen=True)
class PresentPlan:
    """The plan for state present."""

    placed: PlacedVCluster
    rendering: RenderContext
    changes: Plan
    rights: Plan | None = None  # given back already, where the platform's account had lost those to the namespace
    has_keys: bool = False  # they are stored
    paused: bool = False  # until now
    upgrade: Upgrade | None = None
    leaving: tuple[str, ...] = ()  # nodes to drain
    guest: GuestCluster | None = None  # in check mode: its API, to predict changes
    kubeconfig: AdministratorsKubeconfig | None = None

    @property
    def host(self) -> Cluster:
        return self.placed.host

    @property
    def namespace(self) -> str:
        return self.placed.namespace

    @property
    def spec(self) -> VClusterSpec:
        return self.rendering.spec

    @property
    def changes_resources(self) -> bool:
        """Whether the record of its resources, or the limits, are written."""
        return any(_changes_resources(self.host, action) for action in self.changes.actions)

    @property
    def claims(self) -> list[dict]:
        """The claims of its volumes, as far as they exist."""
        return _claims(self.changes, self.spec)


def _changes_resources(host: Cluster, action: Action) -> bool:
    if action.kind != NAMESPACE or action.before is None:
        return action.kind in (NAMESPACE, RESOURCE_QUOTA)
    before, after = (VirtualCluster(host, one).readable_record for one in (action.before, action.desired))
    return before.resources != after.resources


def check_present(context: Context, placed: PlacedVCluster, spec: VClusterSpec, facts: HostFacts) -> CheckedVCluster:
    """Check the spec against the host and the record. Raise a TenantryError. Warn about risks."""
    found, record = placed.found, placed.record
    spec = facts.with_resolved_networks(spec)
    check_change(record, spec)
    if problem := facts.isolation_gap(spec):
        context.warn(f"{placed.namespace}: {problem}")
    if found and (snapshot := interrupted(found.namespace_object)):
        context.warn(
            f"{placed.namespace}: a restore of snapshot {snapshot} was interrupted, and its etcd may not start. "
            "Run that restore again (tenantry.kube.vcluster_snapshot)"
        )
    if found and ca_rotation.is_interrupted(found):
        context.warn(
            f"{placed.namespace}: a rotation of its CAs was interrupted. Run it again with state: rotated to finish it"
        )
    if spec.datastore and record.version not in (None, spec.version):
        context.warn(
            f"{placed.namespace}: no pre-upgrade copy is made, because the datastore is external "
            f"({spec.datastore.place}). Back up that database before you upgrade"
        )
    return CheckedVCluster(placed, spec, facts, facts.published_address(spec, record))


def plan_present(context: Context, checked: CheckedVCluster) -> PresentPlan:
    """Plan the changes. If the platform's account lost its rights to the namespace, they are restored first."""
    placed, rendering = checked.placed, checked.rendering()
    if placed.found is None:
        return _planned(context, placed, rendering, has_keys=False)
    rights = _missing_rights(placed.host, rendering) if rendering.account else None
    if rights and context.check_mode:
        context.warn(
            f"{placed.namespace}: the platform's RoleBinding in this namespace is missing, so check mode cannot "
            "predict further changes"
        )
        return PresentPlan(placed, rendering, rights)
    if rights:
        _give_back(rights, placed)
    # With the keys that the namespace holds and the addresses its Services have.
    kept, has_keys = keys.kept(placed.host, checked.spec)
    rendering = with_addresses(replace(rendering, keys=kept), placed.host)
    return replace(_planned(context, placed, rendering, has_keys=has_keys), rights=rights)


def _planned(context: Context, placed: PlacedVCluster, rendering: RenderContext, *, has_keys: bool) -> PresentPlan:
    host, spec, found = placed.host, rendering.spec, placed.found
    context.secret(*rendering.keys.secrets)
    changes = changes_of(host, rendering, placed.record)
    for claim in _claims(changes, spec):
        check_volume(host, spec, claim)
    path = placed.desired.kubeconfig_path
    server = changes.object(STATEFUL_SET, SERVER, placed.namespace)
    agents = changes.object(STATEFUL_SET, AGENT, placed.namespace)
    paused = lifecycle.is_paused(server)
    upgrades = found if spec.lasting and spec.datastore is None else None
    is_foreseen = found and context.check_mode and rendering.keys.ca and not paused
    return PresentPlan(
        placed,
        rendering,
        changes,
        has_keys=has_keys,
        kubeconfig=AdministratorsKubeconfig(path, placed.namespace, rendering.labels) if path else None,
        paused=paused,
        upgrade=upgrade_of(upgrades, spec.version, server) if upgrades else None,
        leaving=() if paused else tuple(drain.leaving(agents, spec.agents)),
        guest=_guest_for_check(context, host, rendering) if is_foreseen else None,
    )


def _claims(changes: Plan, spec: VClusterSpec) -> list[dict]:
    names = CLAIMS if spec.etcd else (VOLUME_CLAIM,)
    found = (changes.object(PVC, name, spec.namespace) for name in names)
    return [claim for claim in found if claim]


def _datastore_address(host: Cluster, datastore: Datastore | None) -> str:
    """Return the address of a database that is a Service of the host, which servers do not resolve."""
    if datastore is None or datastore.namespace is None:
        return ""
    name = datastore.host.partition(".")[0]
    service = host.get(SERVICE, name, datastore.namespace)
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


def _missing_rights(host: Cluster, rendering: RenderContext) -> Plan | None:
    """Return a plan for the platform's RoleBinding on a member, or None if it exists.

    It is missing after an interrupted run, or if somebody deleted it.
    """
    rights = Plan.make(host, [cluster.platform_binding(rendering)])
    return rights if rights.changed else None


def _give_back(rights: Plan, placed: PlacedVCluster) -> None:
    """Restore the rights, without which nothing in the namespace can be read."""
    host = placed.host
    rights.execute()
    retry(lambda: host.get(SECRET, JOIN_TOKEN, placed.namespace), is_forbidden, Deadline(RIGHTS_DELAY))


def with_addresses(rendering: RenderContext, host: Cluster) -> RenderContext:
    """Return the context with the addresses of its Services; empty for those that do not exist."""

    def address(name: str) -> str:
        service = host.get(SERVICE, name, rendering.namespace)
        return service["spec"]["clusterIP"] if service else ""

    if rendering.spec.exposure.type == CLUSTER_IP or rendering.spec.agents:
        rendering = replace(rendering, cluster_ip=address(API_SERVICE))
    if rendering.spec.exposure.type == LOAD_BALANCER and not rendering.spec.exposure.address:
        given = exposure.balancer_address(host.get(SERVICE, API_SERVICE, rendering.namespace) or {})
        rendering = replace(rendering, address=given or rendering.address)
    if rendering.spec.shared:
        names = (syncer.KUBERNETES_SERVICE, syncer.DNS_SERVICE, SYNCER)
        kubernetes_ip, dns_ip, syncer_ip = host.map(address, names)
        rendering = replace(rendering, kubernetes_ip=kubernetes_ip, dns_ip=dns_ip, syncer_ip=syncer_ip)
    if rendering.spec.etcd:
        rendering = replace(rendering, etcd_ips=tuple(host.map(address, MEMBERS)))
    return rendering


def changes_of(host: Cluster, rendering: RenderContext, record: VClusterRecord) -> Plan:
    """Return the plan from the live objects to the rendered ones."""
    spec = rendering.spec
    owned = naming.selector("vcluster", tenant=spec.tenant, vcluster=spec.name)
    return Plan.make(
        host,
        cluster.everything(rendering),
        owned=owned,
        prune_kinds=(*cluster.KINDS, *exposure.kinds(spec.exposure.type, record.expose)),
        namespace=rendering.namespace,
    )


def _guest_for_check(context: Context, host: Cluster, rendering: RenderContext) -> GuestCluster | None:
    """Connect to the virtual cluster. Return None with a warning if its API does not answer."""
    try:
        return connect_guest(host, rendering)
    except ApiError as error:
        context.warn(f"{rendering.namespace}: cannot predict changes in the virtual cluster: {error}")
        return None
