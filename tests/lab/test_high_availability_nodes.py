"""Three servers with their etcd on three nodes of the host, of which one loses its power."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .harness import kubectl, lab, run_module, until
from .ledger import Ledger
from .test_high_availability import BACK_SECONDS, ETCD, RESOURCES, answers, ready_pods
from .test_vcluster import version

pytestmark = pytest.mark.nightly

TENANT = "spread"
NAMESPACE = f"{TENANT}--prod"
FURTHER = ("second", "third")


@pytest.fixture(scope="module")
def further_nodes(site: object, hub: Path) -> Iterator[None]:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: lab("node", "add", name, "--join", "hub"), FURTHER))
    try:
        yield
    finally:
        for name in FURTHER:
            kubectl(hub, "delete", "node", name, "--ignore-not-found")
            lab("node", "rm", name)


@pytest.fixture(scope="module")
def prod(further_nodes: None, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of its administrator."""
    lab("build", "--etcd")
    tenant, kubeconfig = {"kubeconfig": hub, "tenant": TENANT}, tmp_path_factory.mktemp("spread") / "prod.yaml"
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    made = run_module(
        "vcluster",
        **tenant,
        **{**ETCD, "server": {**ETCD["server"], "anti_affinity": "required"}},
        name="prod",
        version=version(hub),
        servers=3,
        resources=RESOURCES,
        expose={"type": "NodePort"},
        kubeconfig_path=kubeconfig,
    )
    assert not made.failed, made.msg
    yield kubeconfig
    assert not run_module("vcluster", **tenant, name="prod", state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def ready(hub: Path, part: str) -> list[str]:
    """The nodes of the pods of a part that are ready."""
    return sorted(pod["spec"]["nodeName"] for pod in ready_pods(hub, NAMESPACE, part))


def test_each_node_has_a_server_and_a_member(prod: Path, hub: Path) -> None:
    for part in ("server", "etcd"):
        assert ready(hub, part) == ["hub", *FURTHER]


@pytest.mark.parametrize("name", FURTHER)
def test_a_node_goes_and_the_api_goes_on(prod: Path, hub: Path, name: str) -> None:
    ledger = Ledger(prod)
    with ledger.writing():
        ledger.wait_for(20)
        begun = time.monotonic()
        lab("node", "off", name)
        ledger.wait_for(40)
        written = time.monotonic() - begun
        # Until the host knows it, it leads some new connections to the server that has gone.
        until(lambda: all(answers(prod) for _time in range(20)), BACK_SECONDS)
        steady = time.monotonic() - begun
        ledger.wait_for(20)
        lab("node", "add", name)
        until(lambda: len(ready(hub, "server")) == len(ready(hub, "etcd")) == 3, 2 * BACK_SECONDS)
    print(f"{name} off: 40 writes after {written:.1f} s, every new connection answered after {steady:.1f} s")
    assert len(ledger.check()) > 60
