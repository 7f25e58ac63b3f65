# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The walls of a virtual cluster: the NetworkPolicies of its namespace on the host. Pure.

Policies add up, and none can be taken back by another. So each allows something by itself, and what no policy names is
closed. Tenants have no rights in this namespace; policies that they make inside are not brought here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import gateways
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as _render_syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    AGENT,
    API_PORT,
    ETCD,
    PART_LABEL,
    SERVER,
    Rendering,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLIENT_PORT, PEER_PORT

ANYWHERE = ("0.0.0.0/0", "::/0")
# Networks of one link, and where clouds tell a machine its credentials.
METADATA = (
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
HOSTS_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
DNS_PORTS = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
API_PORTS = [{"port": API_PORT, "protocol": "TCP"}]
# All that is neither server nor etcd: agents, the tenant's pods, whatever the platform may run there one day.
WORKLOAD = {"matchExpressions": [{"key": PART_LABEL, "operator": "NotIn", "values": [SERVER, ETCD]}]}
PEER_PORTS = [{"port": port, "protocol": "TCP"} for port in (CLIENT_PORT, PEER_PORT)]
ALL_OWN = {"podSelector": {}}


def policies(rendering: Rendering) -> list[dict]:
    found = [
        _policy(rendering, "default-deny", {}, [], []),
        _policy(rendering, "server", _part(rendering, SERVER), _to_server(rendering), _from_server(rendering)),
        _policy(rendering, "workload", WORKLOAD, _to_workload(rendering), _from_workload(rendering)),
    ]
    if rendering.spec.etcd:
        found.append(_policy(rendering, "etcd", _part(rendering, ETCD), _to_etcd(rendering), _from_etcd(rendering)))
    if rendering.spec.shared:
        # Its resolvers are those of the host's nodes, wherever these are.
        dns = {"matchLabels": _render_syncer.dns_selector(rendering)}
        found.append(_policy(rendering, "dns", dns, [], [_resolvers(rendering)]))
    else:
        found.append(_policy(rendering, "dns", _part(rendering, AGENT), [], [_resolvers(rendering, HOSTS_DNS)]))
    return found


def _to_server(rendering: Rendering) -> list[dict]:
    """Who meets an API server must still prove who he is; tenants' pods do not get this far, see _from_workload."""
    people = _blocks(ANYWHERE, rendering.host.pods)
    nodes = _blocks(gateways(rendering.host.pods))
    return [
        {"from": [ALL_OWN, *people, *nodes, *_admitted(rendering)], "ports": API_PORTS},
        {"from": [{"podSelector": _part(rendering, SERVER)}]},
    ]


def _from_server(rendering: Rendering) -> list[dict]:
    rules = [{"to": [ALL_OWN]}, _resolvers(rendering, HOSTS_DNS), *_outside(rendering), *_datastore(rendering)]
    if rendering.spec.shared:
        rules += [
            {"to": _blocks([address]), "ports": [{"port": port, "protocol": "TCP"}]}
            for address, port in rendering.host.api
        ]
    return rules


def _to_etcd(rendering: Rendering) -> list[dict]:
    """Its servers, and its members among themselves: no pod of the tenant, who would still need a certificate."""
    return [
        {"from": [{"podSelector": _part(rendering, SERVER)}], "ports": [{"port": CLIENT_PORT, "protocol": "TCP"}]},
        {"from": [{"podSelector": _part(rendering, ETCD)}], "ports": PEER_PORTS},
    ]


def _from_etcd(rendering: Rendering) -> list[dict]:
    return [
        {"to": [{"podSelector": _part(rendering, ETCD)}], "ports": PEER_PORTS},
        _resolvers(rendering, HOSTS_DNS),
    ]


def _to_workload(rendering: Rendering) -> list[dict]:
    return [{"from": [ALL_OWN, *_admitted(rendering)]}]


def _from_workload(rendering: Rendering) -> list[dict]:
    datastore = rendering.spec.datastore
    return [
        {"to": [{"podSelector": WORKLOAD}]},
        {"to": [{"podSelector": _part(rendering, SERVER)}], "ports": API_PORTS},
        # Its database is the server's alone.
        *_outside(rendering, but=datastore.addresses if datastore else ()),
    ]


def _datastore(rendering: Rendering) -> list[dict]:
    """Wherever the database is: in the host's network too, which is closed otherwise."""
    datastore = rendering.spec.datastore
    if datastore is None:
        return []
    peers = _blocks(datastore.addresses)
    if datastore.namespace:
        peers.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": datastore.namespace}}})
    return [{"to": peers, "ports": [{"port": datastore.port, "protocol": "TCP"}]}] if peers else []


def _outside(rendering: Rendering, but: Iterable[str] = ()) -> list[dict]:
    """The world, without all that is the host's, and what is allowed by name whatever it is."""
    host, walls = rendering.host, rendering.spec.walls
    api = [address for address, _port in host.api]
    peers = _blocks(ANYWHERE, [*host.pods, *host.services, *host.nodes, *api, *METADATA, *walls.egress_deny, *but])
    peers += _blocks(walls.egress_allow)
    return [{"to": peers}] if peers else []


def _resolvers(rendering: Rendering, *peers: dict) -> dict:
    """DNS wherever it is served but by pods, which may be another tenant's: on nodes, by the cloud, in the world."""
    return {"to": [*peers, *_blocks(ANYWHERE, rendering.host.pods)], "ports": DNS_PORTS}


def _admitted(rendering: Rendering) -> list[dict]:
    walls = rendering.spec.walls
    namespaces = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in walls.ingress_namespaces
    ]
    return [*namespaces, *_blocks(walls.ingress_networks, rendering.host.pods)]


def _blocks(networks: Iterable[str], but: Iterable[str] = ()) -> list[dict]:
    """Networks without those parts of them; one that is excluded as a whole is left out."""
    excluded = _collapsed(but)
    found = []
    for text in networks:
        network = ipaddress.ip_network(text)
        same = [one for one in excluded if one.version == network.version]
        if network in same:
            continue
        block = {"cidr": str(network)}
        inside = [str(one) for one in same if one.subnet_of(network)]
        found.append({"ipBlock": {**block, "except": inside} if inside else block})
    return found


def _collapsed(texts: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    by_version = ([one for one in networks if one.version == version] for version in (4, 6))
    return [one for same in by_version for one in ipaddress.collapse_addresses(same)]


def _part(rendering: Rendering, part: str) -> dict:
    return {"matchLabels": rendering.selector(part)}


def _policy(rendering: Rendering, name: str, pods: dict, ingress: list[dict], egress: list[dict]) -> dict:
    rules = {direction: rules for direction, rules in (("ingress", ingress), ("egress", egress)) if rules}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": rendering.metadata(name),
        "spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], **rules},
    }
