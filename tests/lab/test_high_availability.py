"""A virtual cluster on a real PostgreSQL in the lab: with one server and with three, whose pods end.

The tests go on from one another, on one virtual cluster that changes from one server to three.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .databases import Postgres
from .harness import ModuleResult, kubectl, ran, run_module, until
from .ledger import Ledger
from .test_network import Space, until_reached

TENANT = "steady"
NAMESPACE = f"{TENANT}--prod"
SERVERS = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=server")
BACK_SECONDS = 120  # DUR-2
# Of three servers with their syncers, and some pods.
SLICE = {"cpu": "6", "memory": "6Gi", "pods": 12}

pytestmark = pytest.mark.nightly


@dataclass(frozen=True)
class Steady:
    hub: Path
    kubeconfig: Path
    version: str
    database: Postgres

    def run(self, servers: int = 3, **more: Any) -> ModuleResult:
        done = run_module(
            "vcluster",
            kubeconfig=self.hub,
            tenant=TENANT,
            name="prod",
            version=self.version,
            servers=servers,
            slice=SLICE,
            datastore={"endpoint": self.database.endpoint},
            expose={"type": "NodePort"},
            kubeconfig_path=self.kubeconfig,
            **more,
        )
        assert self.database.password not in done.text
        assert not done.failed, done.msg
        return done

    def inside(self, *arguments: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, *arguments, stdin=stdin)

    def pods(self) -> dict[str, str]:
        """The servers' pods that are ready, with their addresses."""
        found = json.loads(ran(self.hub, "get", "pods", *SERVERS, "-o", "json"))["items"]
        ready = [pod for pod in found if {"type": "Ready", "status": "True"}.items() <= _ready(pod).items()]
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in ready}

    def end(self, *names: str) -> None:
        """At once, as when their machine has gone."""
        ran(self.hub, "-n", NAMESPACE, "delete", "pod", *names, "--force", "--grace-period=0")

    def answers(self) -> bool:
        return kubectl(self.kubeconfig, "get", "--raw", "/readyz", "--request-timeout=5s").returncode == 0


def _ready(pod: dict) -> dict:
    conditions = pod["status"].get("conditions") or []
    return next((one for one in conditions if one["type"] == "Ready"), {})


@pytest.fixture(scope="module")
def steady(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    network = os.environ.get("LAB_SUBNET", "10.213.0.0/24")
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    version = json.loads(ran(hub, "version", "-o", "json"))["serverVersion"]["gitVersion"]
    with Postgres(f"{network.rpartition('.')[0]}.254").running() as database:
        assert not run_module("tenant_quota", **tenant, budget={"vclusters": 1}).failed
        steady = Steady(hub, tmp_path_factory.mktemp("steady") / "prod.yaml", version, database)
        steady.run(servers=1)
        # Whoever follows a server that is ended at once waits for its leases.
        steady.inside("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
        yield steady
        assert not run_module("vcluster", **tenant, name="prod", state="absent").failed
        assert not run_module("tenant_quota", **tenant, state="absent").failed


def test_a_server_without_a_volume_comes_back_with_all_it_knew(steady: Steady) -> None:
    steady.inside("create", "secret", "generic", "kept", "--from-literal=word=horse")
    before = steady.pods()
    steady.end("server-0")
    until(lambda: steady.pods().keys() == {"server-0"} and steady.pods() != before, BACK_SECONDS)
    shown = steady.inside("get", "secret", "kept", "-o", "jsonpath={.data.word}")
    assert shown == "aG9yc2U=", "with the kubeconfig from before: the CA is the same too"
    assert not steady.run(servers=1).changed


def test_one_server_becomes_three_and_a_second_run_changes_nothing(steady: Steady) -> None:
    assert steady.run().changed
    assert steady.pods().keys() == {"server-0", "server-1", "server-2"}
    assert not steady.run().changed
    shown = run_module("vcluster_info", kubeconfig=steady.hub, tenant=TENANT).data["vclusters"][0]
    assert (shown["servers"], shown["status"]) == ("3/3", "Ready")
    assert steady.inside("get", "secret", "kept", "-o", "name")


def test_its_database_is_open_to_the_servers_and_closed_to_its_pods(steady: Steady) -> None:
    target = {f"tcp://{steady.database.address}:{steady.database.port}"}
    ours = Space(steady.kubeconfig, "default")
    outsider = Space(steady.hub, "default")
    for space in (ours, outsider):
        space.serve("asking")
        space("wait", "pod/asking", "--for=condition=Ready", "--timeout=120s")
    try:
        until_reached(outsider, "asking", target, target)
        until_reached(ours, "asking", target, set())
    finally:
        outsider("delete", "pod/asking", "service/asking", "--wait=false")


def test_whichever_server_ends_the_others_go_on_and_pods_are_still_made(steady: Steady) -> None:
    ledger = Ledger(steady.kubeconfig)
    for name in ("server-0", "server-1", "server-2"):
        with ledger.writing():
            ledger.wait_for(10)
            steady.end(name)
            ledger.wait_for(20)
        # As many times as make it likely that nobody is led to the one that has gone any more.
        until(lambda: all(steady.answers() for _time in range(20)), BACK_SECONDS)
        # The syncer of another server takes over, if it was this one's turn.
        other = Space(steady.kubeconfig, "default")
        other.serve(f"after-{name}")
        other("wait", f"pod/after-{name}", "--for=condition=Ready", "--timeout=120s")
        assert other("exec", f"after-{name}", "--", "/web", "reach", "tcp://127.0.0.1:8080").strip().endswith("open")
        other("delete", "pod", f"after-{name}", "--wait=false")
        until(lambda: len(steady.pods()) == 3, BACK_SECONDS)
    assert len(ledger.check()) > 60


def test_all_pods_at_once_and_every_address_changes(steady: Steady) -> None:
    ledger = Ledger(steady.kubeconfig)
    before = steady.pods()
    pod = steady.inside("get", "pod", "asking", "-o", "jsonpath={.metadata.uid}")
    with ledger.writing():
        ledger.wait_for(20)
        begun = time.monotonic()
        steady.end(*before)
        until(lambda: steady.pods() and steady.answers(), BACK_SECONDS)
        answered = time.monotonic() - begun
        until(lambda: len(steady.pods()) == 3, 2 * BACK_SECONDS)
        print(
            f"all three servers replaced: API after {answered:.1f} s, all ready after {time.monotonic() - begun:.1f} s"
        )
        ledger.wait_for(20)
    assert not set(steady.pods().values()) & set(before.values())
    assert len(ledger.check()) > 40
    assert steady.inside("get", "pod", "asking", "-o", "jsonpath={.metadata.uid}") == pod, "its pods went on"
    assert not steady.run().changed


def test_it_sleeps_as_a_whole_and_wakes_up_as_a_whole(steady: Steady) -> None:
    steady.run(state="paused")
    assert not steady.pods()
    steady.run()
    assert len(steady.pods()) == 3
    assert steady.inside("get", "secret", "kept", "-o", "name")
