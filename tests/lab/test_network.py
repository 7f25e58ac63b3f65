"""The walls on the network, shown by packets. What is closed is open to somebody else, and once the walls are gone."""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness import DEMO, ModuleResult, ansible_playbook, kubectl, lab, ran, run_module

WEB = "docker.io/lab/web:1"
PORT, NODES_PORT = 8080, 7080
METADATA = "169.254.169.254"
POLICIES = {
    "shared": ["default-deny", "dns", "server", "syncer", "workload"],
    "dedicated": ["default-deny", "dns", "server", "workload"],
}
SMALL = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}}
# As Pod Security's level restricted wants it.
MODEST = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
NO_PRIVILEGE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SETTLING = 20  # seconds an enforcer may take to see a pod or a policy


@dataclass(frozen=True)
class Space:
    """A namespace of a cluster, with pods in it."""

    kubeconfig: Path
    name: str

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, "-n", self.name, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> dict:
        return json.loads(self("get", *arguments, "-o", "json"))

    def serve(self, name: str, port: int = PORT, **spec: Any) -> None:
        """A pod that answers, and its Service."""
        container = {
            "name": "web",
            "image": WEB,
            "args": ["serve", "--port", str(port)],
            "resources": SMALL,
            "securityContext": NO_PRIVILEGE,
        }
        labels = {"app": name}
        ports = [{"name": protocol.lower(), "port": port, "protocol": protocol} for protocol in ("TCP", "UDP")]
        pod: dict = {"kind": "Pod", "spec": {"securityContext": MODEST, "containers": [container], **spec}}
        service: dict = {"kind": "Service", "spec": {"selector": labels, "ports": ports}}
        items = [{"apiVersion": "v1", "metadata": {"name": name, "labels": labels}, **one} for one in (pod, service)]
        self("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def address(self, pod: str) -> str:
        return self.json("pod", pod)["status"]["podIP"]

    def service(self, name: str) -> str:
        return self.json("service", name)["spec"]["clusterIP"]

    def reach(self, pod: str, targets: set[str]) -> set[str]:
        """Which of the targets answer to a pod."""
        lines = self("exec", pod, "--", "/web", "reach", *sorted(targets)).splitlines()
        assert len(lines) == len(targets), lines
        return {line.split()[0] for line in lines if line.endswith(" open")}


def both(address: str, port: int = PORT) -> set[str]:
    return {f"tcp://{address}:{port}", f"udp://{address}:{port}"}


def until_reached(space: Space, pod: str, targets: set[str], expected: set[str]) -> None:
    """Enforcers follow; what they come to is what counts."""
    end = time.monotonic() + SETTLING
    while (found := space.reach(pod, targets)) != expected:
        assert time.monotonic() < end, f"from {pod} of {space.name}: {sorted(found ^ expected)} differ"


class Host:
    """A host cluster: what it has itself, and a pod of somebody who is not a tenant."""

    def __init__(self, name: str, space: Space) -> None:
        self.name, self.space = name, space
        self.node = space.json("nodes")["items"][0]["status"]["addresses"][0]["address"]
        space.serve("outsider")
        space.serve("node", NODES_PORT, hostNetwork=True)
        # Where a cloud's machines find their credentials.
        lab("ssh", name, "ip", "address", "replace", f"{METADATA}/32", "dev", "lo")

    def close(self) -> None:
        lab("ssh", self.name, "ip", "address", "delete", f"{METADATA}/32", "dev", "lo")

    @functools.cached_property
    def dns(self) -> set[str]:
        return both(Space(self.space.kubeconfig, "kube-system").service("kube-dns"), 53)

    @functools.cached_property
    def own(self) -> set[str]:
        """What the host has itself and anybody on it reaches."""
        outsider, node = self.space.address("outsider"), self.node
        api = {f"tcp://{Space(self.space.kubeconfig, 'default').service('kubernetes')}:443", f"tcp://{node}:6443"}
        pods = both(outsider) | both(self.space.service("outsider"))
        return pods | api | {f"tcp://{node}:10250"} | both(node, NODES_PORT) | both(METADATA, NODES_PORT)


class Virtual:
    """A virtual cluster with two pods in it, seen from inside and on its host."""

    def __init__(self, name: str, host: Host, space: Space) -> None:
        self.name, self.host, self.space = name, host, space
        self.on_host = Space(host.space.kubeconfig, name)
        for pod in ("client", "peer"):
            space.serve(pod)

    @functools.cached_property
    def api(self) -> set[str]:
        service = self.on_host.json("service", "api")["spec"]
        node_port = service["ports"][0]["nodePort"]
        return {
            f"tcp://{self.on_host.address('server-0')}:6443",
            f"tcp://{service['clusterIP']}:6443",
            f"tcp://{self.host.node}:{node_port}",
        }

    @property
    def mode(self) -> str:
        return "dedicated" if self.name == "research--lab" else "shared"

    @functools.cached_property
    def syncer(self) -> set[str]:
        """What nobody but the server reaches, not even the pods of the same virtual cluster."""
        if self.mode == "dedicated":
            return set()
        pod, service = self.on_host.address("syncer-0"), self.on_host.service("syncer")
        return {f"tcp://{address}:{port}" for address in (pod, service) for port in (10250, 10251)}

    @functools.cached_property
    def pods(self) -> set[str]:
        """As its host's pods would reach them; of nodes of its own, the nodes."""
        if self.mode == "dedicated":
            return {f"tcp://{self.on_host.address('agent-0')}:10250"}
        return both(self.space.address("peer")) | both(self.space.service("peer"))


@dataclass
class World:
    hosts: dict[str, Host]
    virtual: dict[str, Virtual]

    @property
    def everything(self) -> list[Space]:
        return [one.space for one in (*self.hosts.values(), *self.virtual.values())]


ON = {"payments--dev": "hub", "payments--stage": "hub", "research--lab": "edge"}


@pytest.fixture(scope="module")
def world(site: object, hub: Path, edge: Path) -> Iterator[World]:
    name = f"network-{uuid.uuid4().hex[:6]}"
    found = World({}, {})
    try:
        for host, kubeconfig in (("hub", hub), ("edge", edge)):
            space = Space(kubeconfig, name)
            space("create", "namespace", name)
            found.hosts[host] = Host(host, space)
        for vcluster, host in ON.items():
            space = Space(DEMO / f"vclusters/{vcluster}.yaml", name)
            space("create", "namespace", name)
            found.virtual[vcluster] = Virtual(vcluster, found.hosts[host], space)
        for space in found.everything:
            space("wait", "pod", "--all", "--for=condition=Ready", "--timeout=120s")
        yield found
    finally:
        for wait in ("--wait=false", "--timeout=120s"):
            for space in found.everything:
                space("delete", "namespace", name, "--ignore-not-found", wait)
        for one in found.hosts.values():
            one.close()


def forbidden(world: World, vcluster: str) -> set[str]:
    """What a virtual cluster's pods must not reach: all that is of its host, and of its neighbours there."""
    host = world.virtual[vcluster].host
    targets = host.own | host.dns | world.virtual[vcluster].syncer
    for other in world.virtual.values():
        if other.host is host and other.name != vcluster:
            targets = targets | other.api | other.pods | other.syncer
    return targets


def join_edge(hub: Path, edge: Path) -> ModuleResult:
    return run_module("fleet_member", kubeconfig=hub, name="edge", member_kubeconfig=edge)


def found_out(kubeconfig: Path) -> str:
    annotations = Space(kubeconfig, "tenantry-system").json("namespace", "tenantry-system")["metadata"]["annotations"]
    return annotations.get("tenantry.dev/network-policies", "")


def test_hosts_that_enforce_policies_were_found_out(site: object, hub: Path, edge: Path) -> None:
    """When they were installed and joined. The pods that did it are gone."""
    for kubeconfig in (hub, edge):
        assert found_out(kubeconfig) == "enforced"
        assert Space(kubeconfig, "tenantry-system").json("pods,networkpolicies")["items"] == []


@pytest.mark.nightly
def test_a_host_that_does_not_enforce_policies_is_said_loudly(site: object, hub: Path, edge: Path) -> None:
    """k3s without its controller. By each run, until it is found to be otherwise."""
    config = "/etc/rancher/k3s/config.yaml"
    kubectl(edge, "annotate", "namespace", "tenantry-system", "tenantry.dev/network-policies-")
    lab("ssh", "edge", f"echo 'disable-network-policy: true' >> {config}; systemctl restart k3s")
    try:
        for _round in range(2):
            told = join_edge(hub, edge)
            assert not told.failed, told.msg
            assert "DOES NOT ENFORCE NETWORK POLICIES for ingress and egress" in told.text
        assert found_out(edge) == ""
    finally:
        lab("ssh", "edge", f"sed -i /disable-network-policy/d {config}; systemctl restart k3s")
        told = join_edge(hub, edge)
    assert "NETWORK POLICIES" not in told.text, told.text
    assert found_out(edge) == "enforced"


@pytest.mark.parametrize("host", ["hub", "edge"])
def test_what_the_host_has_is_open_to_others(world: World, host: str) -> None:
    """The control of all that follows: it answers."""
    targets = world.hosts[host].own | world.hosts[host].dns
    until_reached(world.hosts[host].space, "outsider", targets, targets)


@pytest.mark.parametrize("vcluster", ON)
def test_pods_reach_nothing_of_others(world: World, vcluster: str) -> None:
    until_reached(world.virtual[vcluster].space, "client", forbidden(world, vcluster), set())


@pytest.mark.parametrize("vcluster", ON)
def test_pods_of_others_reach_nothing(world: World, vcluster: str) -> None:
    """Not even a pod that no policy holds. A node port is for people: its packets come from a node."""
    virtual = world.virtual[vcluster]
    node_port = {target for target in virtual.api if virtual.host.node in target}
    until_reached(virtual.host.space, "outsider", virtual.api - node_port | virtual.pods | virtual.syncer, set())


@pytest.mark.parametrize("vcluster", ON)
def test_pods_reach_each_other_their_dns_their_api_and_the_world(world: World, vcluster: str) -> None:
    virtual = world.virtual[vcluster]
    dns = both(Space(virtual.space.kubeconfig, "kube-system").service("kube-dns"), 53)
    mirror = lab("status").rpartition("http://")[2].split()[0]
    own = both(virtual.space.address("peer")) | both("peer") | dns | {f"tcp://{mirror}", "tcp://kubernetes.default:443"}
    until_reached(virtual.space, "client", own, own)
    assert "200" in virtual.space("exec", "client", "--", "/web", "kube", "/version").splitlines()[0]


@pytest.mark.parametrize("vcluster", ON)
def test_users_reach_their_api_and_what_streams_through_it(world: World, vcluster: str) -> None:
    """From outside, by the kubeconfigs that they have, which verify its certificate."""
    space = world.virtual[vcluster].space
    assert "certificate-authority-data" in space.kubeconfig.read_text()
    assert kubectl(space.kubeconfig, "get", "--raw", "/readyz").stdout == "ok"
    assert space("exec", "peer", "--", "/web", "print", "hello") == "hello\n"
    assert space("logs", "peer") == ""


OPEN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "open"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
}


@pytest.mark.parametrize("vcluster", ON)
def test_policies_of_a_tenant_open_nothing(world: World, vcluster: str) -> None:
    virtual = world.virtual[vcluster]
    virtual.space("create", "-f", "-", stdin=json.dumps(OPEN))
    assert policies(virtual) == POLICIES[virtual.mode]
    virtual.space.serve("after")
    virtual.space("wait", "pod/after", "--for=condition=Ready", "--timeout=60s")
    until_reached(virtual.space, "after", forbidden(world, vcluster), set())
    assert policies(virtual) == POLICIES[virtual.mode]


def policies(virtual: Virtual) -> list[str]:
    return sorted(item["metadata"]["name"] for item in virtual.on_host.json("networkpolicies")["items"])


def test_without_the_policies_everything_is_open_and_a_run_closes_it_again(world: World) -> None:
    """It was they who held: each target that was closed answers. A run says what it puts back and restarts nothing."""
    servers = {name: server(virtual) for name, virtual in world.virtual.items()}
    try:
        for virtual in world.virtual.values():
            virtual.on_host("delete", "networkpolicies", "--all")
        for name, virtual in world.virtual.items():
            targets = forbidden(world, name)
            until_reached(virtual.space, "client", targets, targets)
            reachable = virtual.api | virtual.pods | virtual.syncer
            until_reached(virtual.host.space, "outsider", reachable, reachable)
    finally:
        run = ansible_playbook("playbooks/onboard.yml", "--diff")
    for name, virtual in world.virtual.items():
        for policy in POLICIES[virtual.mode]:
            assert f"networking.k8s.io/v1/NetworkPolicy/{name}/{policy}" in run.stdout
        assert policies(virtual) == POLICIES[virtual.mode]
        assert server(virtual) == servers[name]
        until_reached(virtual.space, "client", forbidden(world, name), set())


def server(virtual: Virtual) -> tuple[str, int]:
    pod = virtual.on_host.json("pod", "server-0")
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"]["containerStatuses"])
