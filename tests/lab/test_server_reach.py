"""Where a tenant's administrator can have the API server inside connect to, and what its errors say about others.

Each way is shown to work on a pod of the tenant's own. What is closed answers once a policy opens it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import ran, until
from .space import WAIT, Space, made_space

VCLUSTER = "payments--dev"
WEB = {"name": "web", "image": "docker.io/lab/web:1", "args": ["serve"]}
SETTLING = 20  # seconds that an enforcer may take to follow a policy
# How an API server tells that nobody answered; all else came from the other end.
SILENCE = re.compile(r"connection refused|i/o timeout|no route to host|context deadline exceeded|Client\.Timeout")
# And how that a server without TLS did.
PLAIN = re.compile(r"HTTP response to HTTPS client|does not look like a TLS handshake")
OPEN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "opened-by-a-test"},
    "spec": {
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "server"}},
        "policyTypes": ["Egress"],
        "egress": [{}],
    },
}


@pytest.fixture(scope="module")
def space(site: object, hub: Path) -> Iterator[Space]:
    with made_space(VCLUSTER, "reach") as found:
        found.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own"}, "spec": {"containers": [WEB]}})
        found("wait", "pod/own", "--for=condition=Ready", WAIT)
        yield found


@pytest.fixture(scope="module")
def own(space: Space) -> tuple[str, int]:
    return space.json("pod", "own")["status"]["podIP"], 8080


@pytest.fixture(scope="module")
def hosts(hub: Path) -> list[tuple[str, int]]:
    """Addresses and ports of the host: its API server in both ways, a kubelet, and the API of another tenant."""
    service = ran(hub, "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    node = json.loads(ran(hub, "get", "nodes", "-o", "json"))["items"][0]["status"]["addresses"][0]["address"]
    other = ran(hub, "-n", "payments--stage", "get", "service", "api", "-o", "jsonpath={.spec.clusterIP}")
    return [(service, 443), (node, 6443), (node, 10250), (other, 6443)]


def by_a_pods_address(space: Space, address: str, port: int) -> str:
    """A pod that the host refuses, so that nobody but the tenant says what its status is."""
    name = f"forged-{address.replace('.', '-')}-{port}"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    space.create({**pod, "spec": {"hostNetwork": True, "containers": [WEB]}})
    try:
        status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
        space("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
        answer = space.try_("get", "--raw", f"/api/v1/namespaces/{space.name}/pods/https:{name}:{port}/proxy/version")
        return answer.stdout + answer.stderr
    finally:
        space("delete", "pod", name, "--force", "--grace-period=0")


def asked(space: Space, host: str, port: int) -> str:
    """What an API server says of a webhook at this host, when it should have asked it."""
    name = f"reach-{space.name}"
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "reach.example.com",
                "clientConfig": {"url": f"https://{host}:{port}/version"},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
            }
        ],
    }
    space.create(webhook)
    try:
        return until(lambda: space.try_("create", "configmap", "asked", "--dry-run=server").stderr)
    finally:
        space("delete", "validatingwebhookconfiguration", name)


def by_an_api_service(space: Space, address: str, port: int) -> str:
    name, group = f"reach-{port}", f"{address.replace('.', '-')}.{space.name}.example.com"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
    service["spec"] = {"type": "ExternalName", "externalName": address}
    spec = {
        "group": group,
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"namespace": space.name, "name": name, "port": port},
    }
    metadata = {"name": f"v1.{group}"}
    space.create(
        service, {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": metadata, "spec": spec}
    )
    path = "jsonpath={.status.conditions[?(@.reason=='FailedDiscoveryCheck')].message}"
    try:
        return until(lambda: space("get", "apiservice", metadata["name"], "-o", path), 60)
    finally:
        space("delete", "apiservice", metadata["name"])
        space("delete", "service", name)


# Of Services, an API server connects to addresses of pods only.
WAYS = {"a pod's address": by_a_pods_address, "a webhook": asked, "an API service": by_an_api_service}
Way = Callable[[Space, str, int], str]


@contextlib.contextmanager
def opened(hub: Path) -> Iterator[None]:
    ran(hub, "-n", VCLUSTER, "create", "-f", "-", stdin=json.dumps(OPEN))
    try:
        yield
    finally:
        ran(hub, "-n", VCLUSTER, "delete", "networkpolicy", OPEN["metadata"]["name"])


def answered(way: Way, space: Space, targets: list[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """What came from the other end."""
    told = {target: way(space, *target) for target in targets}
    return {target: text for target, text in told.items() if not SILENCE.search(text)}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_server_reaches_the_tenants_pods_and_not_the_host(
    way: Way, space: Space, own: tuple[str, int], hosts: list[tuple[str, int]], hub: Path
) -> None:
    assert PLAIN.search(answered(way, space, [own]).get(own, ""))
    end = time.monotonic() + SETTLING
    while found := answered(way, space, hosts):
        assert time.monotonic() < end, found
    with opened(hub):
        end = time.monotonic() + SETTLING
        while hosts[0] not in answered(way, space, hosts[:1]):
            assert time.monotonic() < end, "it was not the policy that held"


@pytest.mark.parametrize("vcluster", [VCLUSTER, "research--lab"])
def test_errors_do_not_tell_which_names_the_host_has(site: object, hub: Path, edge: Path, vcluster: str) -> None:
    """The same of a Service of another tenant or of the host as of one that does not exist."""
    there = ["kubernetes.default.svc", "kube-dns.kube-system.svc.cluster.local"]
    there.append("api.payments--stage.svc" if vcluster == VCLUSTER else "api.research--lab.svc.cluster.local")
    with made_space(vcluster, "names") as space:
        for name in there:
            missing = name.replace(name.partition(".")[0], "nothing", 1)
            told = {one: asked(space, one, 443) for one in (name, missing)}
            assert "failed to call webhook" in told[missing], told
            assert told[name].replace(name, "X") == told[missing].replace(missing, "X")
