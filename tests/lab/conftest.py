"""Fixtures of the tests that need a real Kubernetes.

`api_server` and `second_api_server` are API servers without nodes on the loopback address (three seconds);
`site` is the whole lab with `site.yml` of the demo inventory played (minutes), `hub` and `edge` are its clusters.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import DEMO, ApiServer, ModuleResult, ansible_playbook, call_module, lab, lab_as_found, run_module
from .people import User, tenant_with
from .syncer_pair import Pair, syncer_pair

# A node without a kubelet is what a test says, as soon as it says so.
NODES_ON_PAPER = [
    word
    for one in ("node-monitor-period=1s", "node-monitor-grace-period=2h")
    for word in ("--kube-controller-manager-arg", one)
]


@pytest.hookimpl(tryfirst=True)  # before `pytest -m` selects by it
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marked are tests that need the lab's machines; the others have API servers of their own, and can run beside."""
    for item in items:
        if "site" in item.fixturenames or "selftest" in item.path.parts:
            item.add_marker("machines")


def _api_server(
    environment: str, tmp_path_factory: pytest.TempPathFactory, name: str, *arguments: str
) -> Iterator[Path]:
    if given := os.environ.get(environment):
        yield Path(given)
        return
    lab("build")
    server = ApiServer(tmp_path_factory.mktemp(name), arguments)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a running API server (TENANTRY_TEST_KUBECONFIG names one to use instead)."""
    yield from _api_server("TENANTRY_TEST_KUBECONFIG", tmp_path_factory, "api-server", *NODES_ON_PAPER)


@pytest.fixture(scope="session")
def second_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of another cluster's API server."""
    yield from _api_server("TENANTRY_TEST_KUBECONFIG_2", tmp_path_factory, "second-api-server", *NODES_ON_PAPER)


@pytest.fixture(scope="session")
def cluster(api_server: Path) -> Any:
    """The collection's own client, connected to `api_server` as its administrator."""
    from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import client, kubeconfig

    return client.Cluster.from_kubeconfig(kubeconfig.load(str(api_server)), name="hub")


@pytest.fixture
def namespace(cluster: Any) -> Iterator[str]:
    """An empty namespace, gone (or on its way) after the test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("v1/Namespace", name)


@pytest.fixture(scope="module")
def platform(api_server: Path) -> Iterator[Path]:
    """`api_server` as a hub. That the platform could be removed afterwards shows that the tests left nothing on it.

    It stays for the next tests, since its removal takes 20 seconds; test_platform.py removes it.
    """
    installed = call_module("platform", kubeconfig=api_server)
    assert not installed.failed, installed.msg
    yield api_server
    removable = call_module("platform", kubeconfig=api_server, state="absent", check=True)
    assert not removable.failed, removable.msg


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An API server in the place of the inside of a virtual cluster; its administrator's kubeconfig."""
    from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests

    signing = ("--kube-controller-manager-arg", server_manifests.SIGNING)
    mutating = (
        "feature-gates=MutatingAdmissionPolicy=true",
        "runtime-config=admissionregistration.k8s.io/v1beta1=true",
    )
    more = [word for one in mutating for word in ("--kube-apiserver-arg", one)]
    yield from _api_server("TENANTRY_TEST_KUBECONFIG_DEV", tmp_path_factory, "dev", *signing, *more)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another one, which grants no token for more than two days."""
    capped = ("--kube-apiserver-arg", "service-account-max-token-expiration=48h")
    yield from _api_server("TENANTRY_TEST_KUBECONFIG_STAGE", tmp_path_factory, "stage", *capped)


@pytest.fixture(scope="module")
def payments(platform: Path, dev: Path, stage: Path) -> Iterator[Path]:
    """A hub with the tenant payments, which has the virtual clusters dev and stage."""
    with tenant_with(platform, "payments", {"dev": dev, "stage": stage}):
        yield platform


@pytest.fixture
def user(payments: Path, tmp_path: Path) -> Iterator[User]:
    """Runs the module for bob of payments, who does not exist before and after the test."""

    def run(**options: Any) -> ModuleResult:
        options = {"name": "bob", "role": "developer", "kubeconfig_path": tmp_path / "users" / "bob.yaml", **options}
        given = {option: value for option, value in options.items() if value is not None}
        return call_module("tenant_user", kubeconfig=payments, tenant="payments", **given)

    yield run
    for name in ("bob", "carol"):
        removed = call_module("tenant_user", kubeconfig=payments, tenant="payments", name=name, state="absent")
        assert not removed.failed, removed.msg


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The syncer between a hub and the API server of a virtual cluster, neither with nodes."""
    with syncer_pair(platform, tmp_path_factory.mktemp("pair")) as found:
        yield found


@pytest.fixture(scope="session")
def site() -> Iterator[subprocess.CompletedProcess[str]]:
    """The lab, up, with the demo inventory played; the value is the finished run of `site.yml`."""
    lab("build")
    with lab_as_found():
        lab("up")
        yield ansible_playbook("playbooks/site.yml")


@pytest.fixture(scope="session")
def hub(site: subprocess.CompletedProcess[str]) -> Path:
    """The administrator's kubeconfig of the hub, a cluster with a node and the platform on it."""
    return DEMO / "hub.yaml"


@pytest.fixture(scope="session")
def edge(site: subprocess.CompletedProcess[str]) -> Path:
    """The administrator's kubeconfig of the member `edge`."""
    return DEMO / "edge.yaml"


@pytest.fixture(scope="session")
def module() -> type[ModuleResult] | object:
    """Runs one module of the collection in a process of its own: `module("vcluster", tenant=..., check=True)`."""
    return run_module
