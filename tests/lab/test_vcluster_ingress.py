"""The API of two virtual clusters through a real ingress controller: Traefik in the place of ingress-nginx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography import x509

from .harness import KUBECTL, ROOT, ModuleResult, lab, ran, run_module, until
from .space import WAIT
from .tls import shown

pytestmark = pytest.mark.nightly

TRAEFIK = ROOT / "tests/lab/data/traefik.yml"
CONTROLLER = "traefik"  # its namespace
TENANT = "quay"
EAST, WEST, MOVED, OTHER = (f"{name}.vclusters.example.com" for name in ("east", "west", "moved", "other"))
HOSTS = {"east": EAST, "west": WEST}
# /etc/hosts is another one for this program alone: what DNS would say.
RESOLVED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


@dataclass(frozen=True)
class Quay:
    hub: Path
    directory: Path
    address: str
    version: str

    def item(self, name: str, host: str | None = None, **options: Any) -> dict[str, Any]:
        return {
            "tenant": TENANT,
            "name": name,
            "version": self.version,
            "persistence": {"type": "none"},
            "resources": {"cpu": "3", "memory": "2Gi", "storage": "1Gi", "pods": 12},
            # Without annotations: those of ingress-nginx.
            "expose": {"type": "Ingress", "address": host or HOSTS[name], "ingress_class": "nginx"},
            "network": {"ingress_from": [CONTROLLER]},
            "kubeconfig_path": str(self.kubeconfig(name)),
            **options,
        }

    def run(self, name: str, host: str | None = None, **options: Any) -> ModuleResult:
        done = run_module("vcluster", kubeconfig=self.hub, **self.item(name, host, **options))
        assert not done.failed, done.msg
        return done

    def kubeconfig(self, name: str) -> Path:
        return self.directory / f"{name}.yaml"

    def command(self, name: str, *arguments: str) -> list[str | Path]:
        """kubectl as somebody runs it whose DNS leads all names to the controller."""
        hosts = self.directory / "hosts"
        hosts.write_text("".join(f"{self.address} {host}\n" for host in (EAST, WEST, MOVED, OTHER)))
        return [*RESOLVED, hosts, KUBECTL, "--kubeconfig", self.kubeconfig(name), *arguments]

    def try_(self, name: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"KUBECACHEDIR": str(self.directory / "cache")}
        command = self.command(name, "--request-timeout=60s", *arguments)
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)

    def __call__(self, name: str, *arguments: str, stdin: str | None = None) -> str:
        done = self.try_(name, *arguments, stdin=stdin)
        assert done.returncode == 0, f"{name}: kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def is_entered(self, name: str) -> bool:
        return self.try_(name, "get", "namespaces", "--request-timeout=5s").returncode == 0

    def certificate(self, host: str) -> x509.Certificate | None:
        """What the controller's address shows to somebody who asks for a host name."""
        found = shown(self.address, 443, host)
        return found and x509.load_pem_x509_certificate(found.encode())

    def names(self, host: str) -> set[str]:
        """The names that the certificate there is for. Of its addresses the pod's is another after a restart."""
        extension = self.certificate(host).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return set(extension.value.get_values_for_type(x509.DNSName))

    def is_answered_by_the_controller(self, host: str) -> bool:
        """With a certificate that it made itself, because nobody has that name."""
        found = self.certificate(host)
        return found is not None and "TRAEFIK DEFAULT CERT" in found.subject.rfc4514_string()


@pytest.fixture(scope="module")
def controller(site: object, hub: Path) -> Iterator[str]:
    """The address of its port for TLS, 443 as kubeconfigs say."""
    lab("build", "--passthrough")
    ran(hub, "apply", "-f", str(TRAEFIK))
    try:
        ran(hub, "-n", CONTROLLER, "rollout", "status", "deployment/traefik", WAIT)
        yield str(urlsplit(yaml.safe_load(hub.read_text())["clusters"][0]["cluster"]["server"]).hostname)
    finally:
        ran(hub, "delete", "--ignore-not-found", "-f", str(TRAEFIK), WAIT)


@pytest.fixture(scope="module")
def quay(controller: str, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quay]:
    version = yaml.safe_load(ran(hub, "version", "-o", "yaml"))["serverVersion"]["gitVersion"]
    quay = Quay(hub, tmp_path_factory.mktemp("quay"), controller, version)
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    quota = {"cpu": "6", "memory": "4Gi", "storage": "2Gi", "pods": 24, "vclusters": 2}
    assert not run_module("tenant_quota", **tenant, quota=quota).failed
    try:
        made = run_module("vcluster", kubeconfig=hub, vclusters=[quay.item(name) for name in HOSTS])
        assert not made.failed, made.msg
        for name in HOSTS:
            # The controller follows the host's objects, and the network its policies, some moments later.
            until(lambda name=name: quay.is_entered(name))
        yield quay
    finally:
        for name in HOSTS:
            assert not run_module("vcluster", **tenant, name=name, state="absent").failed
        assert not run_module("tenant_quota", **tenant, state="absent").failed


def server_of(kubeconfig: Path) -> str:
    return yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]


def test_kubeconfig_enters_as_it_was_written(quay: Quay) -> None:
    for name, host in HOSTS.items():
        assert server_of(quay.kubeconfig(name)) == f"https://{host}:443"
        assert "kube-system" in quay(name, "get", "namespaces", "-o", "name")
        assert not quay.run(name).changed


def test_watch_tells_of_changes(quay: Quay) -> None:
    words = ("get", "configmaps", "--watch", "-o", "name", "--request-timeout=60s")
    with subprocess.Popen(quay.command("east", *words), stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout.readline() == "configmap/kube-root-ca.crt\n"
        for name in ("first", "second"):
            quay("east", "create", "configmap", name)
            assert watch.stdout.readline() == f"configmap/{name}\n"
        watch.terminate()


def test_exec_streams_both_ways(quay: Quay) -> None:
    quay("east", "run", "client", "--image=docker.io/lab/web:1", "--restart=Never", "--", "sleep")
    quay("east", "wait", "--for=condition=Ready", "pod/client", WAIT)
    sent = "".join(f"line {number}\n" for number in range(20_000))
    assert quay("east", "exec", "-i", "client", "--", "/web", "echo", stdin=sent) == sent


def test_each_name_leads_to_its_own_api_server(quay: Quay) -> None:
    quay("west", "create", "configmap", "of-west")
    assert quay.try_("east", "get", "configmap", "of-west").returncode != 0
    for name, theirs in (("east", WEST), ("west", EAST)):
        entered = quay.try_(name, "--server", f"https://{theirs}:443", "get", "namespaces")
        assert "certificate signed by unknown authority" in entered.stderr
        assert not quay.names(HOSTS[name]) & {theirs, MOVED, OTHER}


def test_a_name_that_nobody_has_is_not_answered_by_an_api_server(quay: Quay) -> None:
    assert quay.is_answered_by_the_controller(OTHER)
    for name in HOSTS:
        entered = quay.try_(name, "--server", f"https://{OTHER}:443", "get", "namespaces")
        assert "failed to verify certificate" in entered.stderr


def test_a_controller_that_is_not_admitted_does_not_get_in(quay: Quay) -> None:
    quay.run("west", network={"ingress_from": []})
    until(lambda: quay.certificate(WEST) is None)
    assert quay.is_entered("east")
    quay.run("west")
    until(lambda: quay.is_entered("west"))


def test_change_of_the_name(quay: Quay) -> None:
    before = quay.names(EAST)
    assert EAST in before
    assert quay.run("east", MOVED).changed
    assert server_of(quay.kubeconfig("east")) == f"https://{MOVED}:443"
    until(lambda: quay.is_entered("east"))
    assert quay.names(MOVED) == before - {EAST} | {MOVED}
    until(lambda: quay.is_answered_by_the_controller(EAST))
    assert not quay.run("east", MOVED).changed
    assert quay.is_entered("west")
