# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the NetworkPolicies of a virtual cluster's namespace on the host. Pure.

Policies only add permissions; traffic that none allows is denied. Tenants have no rights in this namespace, and their
own policies are not copied here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, PART_LABEL, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import gateways
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as syncer_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    RenderContext,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLIENT_PORT, PEER_PORT

ANYWHERE = ("0.0.0.0/0", "::/0")
HOSTS_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
DNS_PORTS = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
API_PORTS = [{"port": API_PORT, "protocol": "TCP"}]
SYNCER_PORTS = [
    {"port": port, "protocol": "TCP"} for port in (syncer_manifests.KUBELET_PORT, syncer_manifests.METRICS_PORT)
]
# All pods outside of the control plane: agents and the tenant's pods.
WORKLOAD = {"matchExpressions": [{"key": PART_LABEL, "operator": "NotIn", "values": [SERVER, ETCD, SYNCER]}]}
PEER_PORTS = [{"port": port, "protocol": "TCP"} for port in (CLIENT_PORT, PEER_PORT)]
ALL_OWN: dict = {"podSelector": {}}


def policies(rendering: RenderContext) -> list[dict]:
    """Render all policies."""
    found = [
        _policy(rendering, "default-deny", {}, [], []),
        _policy(rendering, "server", _part(rendering, SERVER), _to_server(rendering), _from_server(rendering)),
        _policy(rendering, "workload", WORKLOAD, _to_workload(rendering), _from_workload(rendering)),
    ]
    if rendering.spec.etcd:
        found.append(_policy(rendering, "etcd", _part(rendering, ETCD), _to_etcd(rendering), _from_etcd(rendering)))
    if rendering.spec.shared:
        syncer = _part(rendering, SYNCER)
        found.append(_policy(rendering, SYNCER, syncer, _to_syncer(rendering), _from_syncer(rendering)))
        # Its resolvers are those of the host's nodes, wherever these are.
        dns = {"matchLabels": syncer_manifests.dns_selector(rendering)}
        found.append(_policy(rendering, "dns", dns, [], [_resolvers(rendering)]))
    else:
        found.append(_policy(rendering, "dns", _part(rendering, AGENT), [], [_resolvers(rendering)]))
    return found


def _to_server(rendering: RenderContext) -> list[dict]:
    """Allow everyone, who must still authenticate. Pods of tenants do not get here, see _from_workload."""
    outside = _blocks(ANYWHERE, rendering.host.pods)
    nodes = _blocks(gateways(rendering.host.pods))
    return [
        {"from": [ALL_OWN, *outside, *nodes, *_admitted(rendering)], "ports": API_PORTS},
        {"from": [{"podSelector": _part(rendering, SERVER)}]},
    ]


def _from_server(rendering: RenderContext) -> list[dict]:
    """Allow the server no more than the tenant's pods.

    An administrator chooses where it connects, by a webhook's URL or the address in a pod's status. Its resolvers are
    those of the host's nodes, which know no Services.
    """
    return [{"to": [ALL_OWN]}, _resolvers(rendering), *_outside(rendering), *_datastore(rendering)]


def _to_syncer(rendering: RenderContext) -> list[dict]:
    return [{"from": [{"podSelector": _part(rendering, SERVER)}], "ports": SYNCER_PORTS}]


def _from_syncer(rendering: RenderContext) -> list[dict]:
    return [
        {"to": [{"podSelector": _part(rendering, SERVER)}], "ports": API_PORTS},
        *(
            {"to": _blocks([address]), "ports": [{"port": port, "protocol": "TCP"}]}
            for address, port in rendering.host.api
        ),
    ]


def _to_etcd(rendering: RenderContext) -> list[dict]:
    """Allow servers and members, but no pods of the tenant, which would also need a certificate."""
    return [
        {"from": [{"podSelector": _part(rendering, SERVER)}], "ports": [{"port": CLIENT_PORT, "protocol": "TCP"}]},
        {"from": [{"podSelector": _part(rendering, ETCD)}], "ports": PEER_PORTS},
    ]


def _from_etcd(rendering: RenderContext) -> list[dict]:
    return [
        {"to": [{"podSelector": _part(rendering, ETCD)}], "ports": PEER_PORTS},
        _resolvers(rendering, HOSTS_DNS),
    ]


def _to_workload(rendering: RenderContext) -> list[dict]:
    return [{"from": [ALL_OWN, *_admitted(rendering)]}]


def _from_workload(rendering: RenderContext) -> list[dict]:
    datastore = rendering.spec.datastore
    return [
        {"to": [{"podSelector": WORKLOAD}]},
        {"to": [{"podSelector": _part(rendering, SERVER)}], "ports": API_PORTS},
        # Its database is the server's alone.
        *_outside(rendering, but=datastore.addresses if datastore else ()),
    ]


def _datastore(rendering: RenderContext) -> list[dict]:
    """Allow the database, also in the host's network, which is denied otherwise."""
    datastore = rendering.spec.datastore
    if datastore is None:
        return []
    peers = _blocks(datastore.addresses)
    if datastore.namespace:
        peers.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": datastore.namespace}}})
    return [{"to": peers, "ports": [{"port": datastore.port, "protocol": "TCP"}]}] if peers else []


def _outside(rendering: RenderContext, but: Iterable[str] = ()) -> list[dict]:
    """Allow everything outside of the host's networks, and explicitly allowed networks."""
    network_options = rendering.spec.network_options
    peers = _blocks(ANYWHERE, [*rendering.host.closed, *network_options.egress_deny, *but])
    peers += _blocks(network_options.egress_allow)
    return [{"to": peers}] if peers else []


def _resolvers(rendering: RenderContext, *peers: dict) -> dict:
    """Allow DNS everywhere except to pods, which may belong to other tenants."""
    return {"to": [*peers, *_blocks(ANYWHERE, rendering.host.pods)], "ports": DNS_PORTS}


def _admitted(rendering: RenderContext) -> list[dict]:
    network_options = rendering.spec.network_options
    namespaces = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in network_options.ingress_namespaces
    ]
    return [*namespaces, *_blocks(network_options.ingress_networks, rendering.host.pods)]


def _blocks(networks: Iterable[str], but: Iterable[str] = ()) -> list[dict]:
    """Return networks with exceptions. A network that is excluded as a whole is omitted."""
    excluded = _collapsed(but)
    found = []
    for text in networks:
        network = ipaddress.ip_network(text)
        same = [one for one in excluded if one.version == network.version]
        if network in same:
            continue
        block = {"cidr": str(network)}
        inside = [str(one) for one in same if one.subnet_of(network)]  # type: ignore[arg-type]  # same version
        found.append({"ipBlock": {**block, "except": inside} if inside else block})
    return found


def _collapsed(texts: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    of_ipv4 = [one for one in networks if isinstance(one, ipaddress.IPv4Network)]
    of_ipv6 = [one for one in networks if isinstance(one, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(of_ipv4), *ipaddress.collapse_addresses(of_ipv6)]


def _part(rendering: RenderContext, part: str) -> dict:
    return {"matchLabels": rendering.selector(part)}


def _policy(rendering: RenderContext, name: str, pods: dict, ingress: list[dict], egress: list[dict]) -> dict:
    rules = {direction: rules for direction, rules in (("ingress", ingress), ("egress", egress)) if rules}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": rendering.metadata(name),
        "spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], **rules},
    }
