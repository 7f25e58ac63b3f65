"""The ways to the API of a virtual cluster beyond a node port, on a host without load balancers and ingress."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import KUBECTL, ModuleResult, kubectl, run_module

TENANT = "harbour"
NAMESPACE = f"{TENANT}--gate"
NAME = "gate.vclusters.example.com"


@dataclass(frozen=True)
class Gate:
    hub: Path
    kubeconfig: Path
    version: str

    def run(self, expose: dict[str, Any], **more: Any) -> ModuleResult:
        options = {"mode": "dedicated", "version": self.version, "kubeconfig_path": self.kubeconfig, **more}
        return run_module("vcluster", kubeconfig=self.hub, tenant=TENANT, name="gate", expose=expose, **options)

    def host(self, *arguments: str) -> str:
        run = kubectl(self.hub, "-n", NAMESPACE, *arguments)
        assert run.returncode == 0, run.stderr
        return run.stdout

    @contextlib.contextmanager
    def way(self) -> Iterator[str]:
        """An address of this computer that leads to the Service, as an ingress or a load balancer would."""
        command = [KUBECTL, "--kubeconfig", self.hub, "-n", NAMESPACE, "port-forward", "service/api", ":6443"]
        forward = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield re.search(r"127\.0\.0\.1:\d+", forward.stdout.readline())[0]
        finally:
            forward.kill()
            forward.wait()

    def enters_as(self, name: str) -> subprocess.CompletedProcess[str]:
        with self.way() as address:
            where = ("--server", f"https://{address}", "--tls-server-name", name)
            return kubectl(self.kubeconfig, *where, "get", "namespaces")


@pytest.fixture(scope="module")
def gate(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    version = json.loads(kubectl(hub, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    yield Gate(hub, tmp_path_factory.mktemp("gate") / "gate.yaml", version)
    assert not run_module("vcluster", **tenant, name="gate", state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def server_of(kubeconfig: Path) -> str:
    return yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]


def test_by_name_through_an_ingress(gate: Gate) -> None:
    expose = {"type": "Ingress", "address": NAME, "ingress_class": "nginx"}
    made = gate.run(expose)
    assert not made.failed, made.msg
    assert made.data["endpoint"] == server_of(gate.kubeconfig) == f"https://{NAME}:443"
    ingress = json.loads(gate.host("get", "ingress", "api", "-o", "json"))
    assert ingress["spec"]["rules"][0]["host"] == NAME
    entered = gate.enters_as(NAME)
    assert entered.returncode == 0, entered.stderr
    assert "certificate is valid for" in gate.enters_as("other.example.com").stderr
    assert not gate.run(expose).changed


@pytest.mark.nightly
def test_at_the_address_that_a_load_balancer_gives(gate: Gate) -> None:
    expose = {"type": "LoadBalancer"}
    refused = gate.run(expose, wait_timeout=3)
    assert refused.failed
    assert "does it have load balancers?" in refused.msg
    for address in ("203.0.113.7", "203.0.113.8"):  # the second time, it has changed
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        gate.host("patch", "service", "api", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        made = gate.run(expose)
        assert not made.failed, made.msg
        assert made.data["endpoint"] == server_of(gate.kubeconfig) == f"https://{address}:6443"
        entered = gate.enters_as(address)
        assert entered.returncode == 0, entered.stderr
        assert not gate.run(expose).changed
    assert gate.host("get", "ingress", "-o", "name") == "", "what the way before needed is gone"
    assert "certificate is valid for" in gate.enters_as(NAME).stderr
