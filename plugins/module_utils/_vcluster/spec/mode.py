# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mode of a virtual cluster: pods on nodes of its own, or pods of its namespace on the host. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import DNS_NAME
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.images import parse_reference
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import Resources, parse_resources

DEDICATED = "dedicated"
SHARED = "shared"
MODES = (SHARED, DEDICATED)

EXAMPLE = "registry.example.com/tenantry/syncer:0.1.0"
# Options that apply to one mode only.
OPTIONS_OF = {
    DEDICATED: ("cluster_cidr",),
    SHARED: (
        *("pod_security", "container_defaults", "storage_classes"),
        *("ingress_classes", "ingress_hosts", "ingress_implementation_specific_paths"),
    ),
}


DEFAULT_LIMITS = {"cpu": "100m", "memory": "128Mi"}
SMALLEST_DEFAULTS = ("10m", "16Mi")


@dataclass(frozen=True)
class Shared:
    """The options of mode shared."""

    syncer_image: str
    pod_security: str
    container_defaults: Resources  # the limits of containers that set none
    storage_classes: tuple[str, ...] | None  # None: any
    ingress_classes: tuple[str, ...]
    ingress_hosts: tuple[str, ...]
    ingress_implementation_specific_paths: bool


def mode_of(given: str | None, record: VClusterRecord | None) -> str:
    """Return the given mode, else that of the record. Without a record (None), shared."""
    if given is not None:
        return given
    if record is None:
        return SHARED
    if record.mode not in MODES:
        raise TenantryError(
            "mode: missing, and the record of this virtual cluster does not have it. "
            f"Set the mode it was created with, {' or '.join(MODES)}"
        )
    return record.mode


def parse_shared(item: dict) -> Shared | None:
    """Validate the options of mode shared. Return None for mode dedicated."""
    mode = item["mode"]
    for other, options in OPTIONS_OF.items():
        for option in options:
            if other != mode and item.get(option) is not None:
                raise TenantryError(f"{option}: applies to mode {other} only, and this is {mode}. Omit it")
    if mode != SHARED:
        return None
    if item["agents"]:
        raise TenantryError(
            f"agents: must be 0 with mode shared, the default, not {item['agents']}, because its pods run on the "
            "host's nodes. Omit it, or create it with mode: dedicated for nodes of its own"
        )
    return Shared(
        syncer_image=_syncer_image(item["syncer_image"]),
        pod_security=item["pod_security"] or "baseline",
        container_defaults=parse_resources(
            item["container_defaults"] or DEFAULT_LIMITS, "container_defaults", SMALLEST_DEFAULTS, "a container"
        ),
        storage_classes=None if item["storage_classes"] is None else _classes(item, "storage_classes"),
        ingress_classes=_classes(item, "ingress_classes"),
        ingress_hosts=_hosts(item),
        ingress_implementation_specific_paths=bool(item.get("ingress_implementation_specific_paths")),
    )


def _syncer_image(reference: str | None) -> str:
    if not reference:
        raise TenantryError(
            "syncer_image: required with mode shared. The image is not published: build it from the directory "
            f"syncer of the collection (podman build --tag {EXAMPLE} syncer), push it to your registry and set "
            "syncer_image, tenantry_syncer_image in an inventory, or TENANTRY_SYNCER_IMAGE in the environment"
        )
    return parse_reference(reference, "syncer_image", EXAMPLE)


def _classes(item: dict, option: str) -> tuple[str, ...]:
    names = item[option] or []
    for name in names:
        if not DNS_NAME.fullmatch(name):
            raise TenantryError(
                f"{option}: {shown(name)} is not the name of a class. Use names as the host's kubectl shows them"
            )
    return tuple(sorted(set(names)))


def _hosts(item: dict) -> tuple[str, ...]:
    """A shared ingress controller requires host names, or one tenant could take another's."""
    hosts = item["ingress_hosts"] or []
    if bool(hosts) != bool(item["ingress_classes"]):
        raise TenantryError(
            "ingress_hosts: goes with ingress_classes. Set both or neither, such as ingress_classes: [nginx] and "
            "ingress_hosts: ['*.dev.example.com']"
        )
    for host in hosts:
        if host != "*" and not DNS_NAME.fullmatch(host.removeprefix("*.")):
            raise TenantryError(
                f"ingress_hosts: {shown(host)} is not a host name. Use one such as shop.example.com, "
                "*.example.com for all below a domain, or * for any"
            )
    return tuple(sorted(set(hosts)))
