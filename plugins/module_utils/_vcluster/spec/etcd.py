# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""etcd in pods beside three servers without an external database, validated. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.images import parse_reference
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    MEBI,
    Resources,
    memory_text,
    parse_resources,
)

# The datastore in records, where an external database has its place.
PLACE = "etcd"
OPTIONS = {
    "image": {"type": "str", "default": "quay.io/coreos/etcd:v3.6.16"},
    "cpu": {"type": "str", "default": "500m"},
    "memory": {"type": "str", "default": "512Mi"},
}
SMALLEST = ("100m", "128Mi")
# Its write-ahead log alone has some files of 64 MiB each.
SMALLEST_VOLUME = 1024 * MEBI


@dataclass(frozen=True)
class Etcd:
    """Image and resources of an etcd member."""

    image: str
    resources: Resources  # of each of its members


def parse_etcd(item: dict, volume: Decimal | None) -> Etcd | None:
    """Validate the options of etcd. Return None with one server or an external database."""
    if item["servers"] == 1 or item.get("datastore"):
        return None
    if volume is None:
        raise TenantryError(
            "persistence.type: none is not possible with three servers, whose etcd would be lost with its pods. Set "
            "pvc, or a datastore elsewhere"
        )
    if volume < SMALLEST_VOLUME:
        raise TenantryError(
            f"persistence.size: {memory_text(volume)} is too small for the volume of each etcd member. Set "
            f"{memory_text(SMALLEST_VOLUME)} or more"
        )
    options = {name: option["default"] for name, option in OPTIONS.items()} | (item.get("etcd") or {})
    return Etcd(
        image=parse_reference(options["image"], "etcd.image", OPTIONS["image"]["default"]),
        resources=parse_resources(options, "etcd", SMALLEST, "etcd"),
    )
