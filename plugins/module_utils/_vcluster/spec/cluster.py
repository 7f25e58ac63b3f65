# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The spec of one virtual cluster: the module's options, validated and converted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD, VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Issuer, parse_issuer
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.allocation import Wanted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import Datastore, parse_datastore
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE, Etcd, parse_etcd
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import Exposure, parse_exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.host_placement import (
    HostPlacement,
    parse_host_placement,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.images import (
    parse_credentials,
    parse_image,
    parse_registries,
    with_tag,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import K3s, parse_k3s
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import (
    LifecyclePolicy,
    parse_lifecycle_policy,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import (
    DEDICATED,
    SHARED,
    Shared,
    parse_shared,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.networking import (
    NetworkPolicyOptions,
    parse_network_options,
    parse_networks,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    DISK_WITH_DATA,
    SMALLEST_AGENT,
    SMALLEST_SERVER,
    SYNCER,
    Resources,
    VClusterResources,
    memory_text,
    minimum_resources,
    parse_further,
    parse_resources,
    parse_vcluster_resources,
    parse_volume,
    refuse_further,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.scheduling import Placement, parse_placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import (
    check_upgrade,
    check_version,
    image_tag,
)


@dataclass(frozen=True)
class VClusterSpec:
    """The validated options of one virtual cluster. Quantities are in base units."""

    tenant: str
    name: str
    host: str | None
    version: str
    agents: int
    server: Resources
    agent: Resources
    volume: Decimal | None  # of each that has one. None: an emptyDir, lost with the pod
    storage_class: str | None
    resources: VClusterResources
    own: VClusterResources  # what its servers and agents take of it
    tier: str
    durability: str
    exposure: Exposure
    image: str
    cluster_cidr: str | None  # None: the pods have addresses of the host
    service_cidr: str | None  # None: that of the host, which is not known yet
    registries: dict = field(default_factory=dict, repr=False)
    servers: int = 1
    shared: Shared | None = None  # None: mode dedicated
    network_options: NetworkPolicyOptions = field(default_factory=NetworkPolicyOptions)
    lifecycle_policy: LifecyclePolicy = field(default_factory=LifecyclePolicy)
    host_placement: HostPlacement | None = None  # None: not asked for
    request: dict | None = None  # the tenant's request (_self_service). None: created by administrators
    server_placement: Placement = field(default_factory=Placement)
    agent_placement: Placement = field(default_factory=Placement)
    image_credentials: tuple[dict, ...] = field(default=(), repr=False)
    k3s: K3s = field(default_factory=lambda: K3s({}, {}, ""), repr=False)
    datastore: Datastore | None = None  # None: k3s's own, on the volume, or etcd
    etcd: Etcd | None = None  # the volumes are those of its members
    oidc: Issuer | None = None
    client_certificates: bool = False  # whether those that are requested inside are accepted

    @property
    def mode(self) -> str:
        return SHARED if self.shared else DEDICATED

    @property
    def lasting(self) -> bool:
        """Whether its data outlives its pods."""
        return self.volume is not None or self.datastore is not None

    @property
    def shares_datastore(self) -> bool:
        """Whether it can have several servers."""
        return self.datastore is not None or self.etcd is not None

    @property
    def server_volume(self) -> Decimal | None:
        """Size of the server's volume in bytes. None if there is none."""
        return None if self.etcd else self.volume

    @property
    def datastore_place(self) -> str | None:
        """The datastore as the record has it: etcd, the place of a database, or None for SQLite."""
        if self.etcd:
            return PLACE
        return self.datastore.place if self.datastore else None

    @property
    def persistence(self) -> str:
        """datastore, none or pvc."""
        if self.datastore:
            return "datastore"
        return "none" if self.volume is None else "pvc"

    @property
    def namespace(self) -> str:
        return naming.vcluster_namespace(self.tenant, self.name)

    @property
    def wanted(self) -> Wanted:
        """What it is to have of the tenant's quota. In mode dedicated, the record does not have the services."""
        services = {} if self.shared else self.own.services()
        return Wanted(self.tenant, self.namespace, {**self.resources.as_text(), **services})

    @property
    def image_reference(self) -> str:
        return with_tag(self.image, image_tag(self.version))

    def record(self, address: str) -> VClusterRecord:
        """Return the record for later runs. It has no secrets."""
        return VClusterRecord(
            address=address,
            agents=self.agents,
            cluster_cidr=self.cluster_cidr,
            datastore=self.datastore_place,
            deletion_protection=self.lifecycle_policy.deletion_protection,
            ttl=self.lifecycle_policy.ttl,
            expose=self.exposure.type,
            mode=self.mode,
            oidc=self.oidc.record() if self.oidc else None,
            persistence=self.persistence,
            request=self.request or None,
            servers=self.servers,
            service_cidr=self.service_cidr,
            sleep=self.lifecycle_policy.sleep,
            resources=self.resources.as_text(),
            storage_class=self.storage_class,
            tier=self.tier,
            version=self.version,
            volume=memory_text(self.volume or Decimal(0)),
        )


# Long: a line for each field of the spec.
def parse(item: dict) -> VClusterSpec:
    """Validate an item of the module. Raise a TenantryError."""
    tenant = naming.check_name(item["tenant"], "tenant")
    name = naming.check_name(item["name"], "name")
    naming.vcluster_namespace(tenant, name)
    _check_counts(item)
    server = parse_resources(item["server"], "server", SMALLEST_SERVER)
    # An agent's disk is that of all its pods, and only its node knows it.
    agent = replace(parse_resources(item["agent"], "agent", SMALLEST_AGENT), disk=Decimal(0))
    datastore = parse_datastore(item.get("datastore"))
    volume = None if datastore else parse_volume(item["persistence"])
    etcd = parse_etcd(item, volume)
    if etcd or volume is None:
        server = replace(server, disk=DISK_WITH_DATA)
    shared = parse_shared(item)
    cluster_cidr, service_cidr = parse_networks(item, shared)
    beside = [SYNCER] if shared else []
    exposure = parse_exposure(item["expose"])
    own_etcd = etcd.resources if etcd else None
    least = minimum_resources(
        [server, *beside], item["servers"], agent, item["agents"], volume, own_etcd, exposure.services
    )
    return VClusterSpec(
        tenant=tenant,
        name=name,
        host=item.get("host"),
        version=check_version(item["version"]),
        servers=item["servers"],
        agents=item["agents"],
        server=server,
        agent=agent,
        volume=volume,
        storage_class=None if datastore else item["persistence"].get("storage_class"),
        own=least,
        resources=_resources(item.get("resources") or {}, least, shared),
        tier=item["tier"],
        durability=_durability(item, datastore or etcd),
        exposure=exposure,
        image=parse_image(item["image"]),
        cluster_cidr=cluster_cidr,
        service_cidr=service_cidr,
        registries=parse_registries(item.get("registries") or {}),
        shared=shared,
        network_options=parse_network_options(item.get("network") or {}),
        lifecycle_policy=parse_lifecycle_policy(item, lasting=bool(volume is not None or datastore)),
        host_placement=parse_host_placement(item.get("placement")),
        request=item.get("request"),
        k3s=parse_k3s(item),
        datastore=datastore,
        etcd=etcd,
        oidc=parse_issuer(item.get("oidc")),
        client_certificates=item["client_certificates"],
        server_placement=parse_placement(item["server"], "server"),
        agent_placement=parse_placement(item["agent"], "agent"),
        image_credentials=parse_credentials(item.get("image_credentials") or []),
    )


def check_change(old: VClusterRecord, new: VClusterSpec) -> None:
    """Raise a TenantryError for an option that cannot change on an existing virtual cluster."""
    if old.mode not in (None, new.mode):
        raise TenantryError(
            f"mode: cannot be changed from {old.mode} to {new.mode} on an existing virtual cluster. "
            "Create a new virtual cluster and restore a snapshot of this one into it (tenantry.kube.vcluster_snapshot)"
        )
    _check_datastore(old, new)
    for option in ("cluster_cidr", "service_cidr", "persistence"):
        if getattr(old, option) is not None:
            _check_fixed(option, getattr(old, option), getattr(new, option))
    if new.volume is not None and old.persistence is not None:
        _check_fixed("storage_class", old.storage_class, new.storage_class)
    if old.version:
        check_upgrade(old.version, new.version)


def _check_fixed(option: str, old: str | None, new: str | None) -> None:
    if old != new:
        raise TenantryError(
            f"{option}: cannot be changed from {old} to {new} on an existing virtual cluster. "
            "Keep it, or delete and recreate the virtual cluster"
        )


def _check_datastore(old: VClusterRecord, new: VClusterSpec) -> None:
    """Only credentials and parameters may change: another database would be another cluster."""
    was, place = old.datastore, new.datastore_place
    if old != NO_RECORD and was != place:
        own = "k3s's own"
        if PLACE in (was, place) and None in (was, place):
            raise TenantryError(
                f"servers: cannot be changed from {old.servers} to {new.servers} on an existing virtual "
                "cluster without datastore, because one server has SQLite and three have etcd. Keep it, or create a "
                "new virtual cluster"
            )
        raise TenantryError(
            f"datastore: cannot be changed from {was or own} to {place or own} on an existing virtual cluster. "
            "Change only user, password and parameters, or create a new virtual cluster"
        )


def _resources(given: dict, least: VClusterResources, shared: Shared | None) -> VClusterResources:
    if not shared:
        refuse_further(given)
        return parse_vcluster_resources(given, least)
    return parse_further(given, least, parse_vcluster_resources(given, least, ("cpu", "memory", "pods")))


def _durability(item: dict, shared: Datastore | Etcd | None) -> str:
    if shared and item["durability"]:
        raise TenantryError(
            "durability: applies to the datastore on the volume of a single server only. Omit it, etcd is always full "
            "and with a datastore outside its database decides"
        )
    return item["durability"] or ("full" if item["tier"] == "prod" else "normal")


def _check_counts(item: dict) -> None:
    servers = item["servers"]
    if isinstance(servers, bool) or not isinstance(servers, int) or servers not in (1, 3):
        raise TenantryError(f"servers: must be the number 1 or 3, not {shown(servers)}; two are no better than one")
    if not 0 <= item["agents"] <= 100:
        raise TenantryError(f"agents: must be 0 to 100, not {item['agents']}")
