"""Three servers on an etcd of their own and on a real PostgreSQL in the lab, in both modes, whose pods end.

The tests go on from one another, on one virtual cluster, which on PostgreSQL changes from one server to three.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from .databases import Postgres
from .harness import MIRROR, ModuleResult, kubectl, lab, ran, run_module, until
from .ledger import SHARED_LAG, Ledger
from .tenantry_lab.etcd import IMAGE as ETCD_IMAGE
from .test_network import Space, until_reached
from .test_vcluster import version
from .test_vcluster_upgrade import next_label

MODES = ("shared", "dedicated")
TENANT = "steady"
NAMESPACE = f"{TENANT}--prod"
MEMBERS = {"etcd-0", "etcd-1", "etcd-2"}
SERVERS = {"server-0", "server-1", "server-2"}
# Of a node that has other things to do.
ETCD = {
    "etcd": {"image": ETCD_IMAGE, "cpu": "200m", "memory": "256Mi"},
    "persistence": {"size": "1Gi"},
    "server": {"cpu": "600m"},
}
BACK_SECONDS = 120  # DUR-2
# Of three servers with their syncers or an agent, etcd, and some pods.
RESOURCES = {"cpu": "8", "memory": "8Gi", "pods": 16}

pytestmark = pytest.mark.nightly


@dataclass
class Steady:
    hub: Path
    kubeconfig: Path
    version: str
    database: Postgres | None  # None: an etcd of its own
    mode: dict[str, Any]

    def run(self, servers: int = 3, **more: Any) -> ModuleResult:
        datastore = {"datastore": {"endpoint": self.database.endpoint}} if self.database else ETCD
        options = {"version": self.version, **self.mode, **datastore, **more}
        done = run_module(
            "vcluster",
            kubeconfig=self.hub,
            tenant=TENANT,
            name="prod",
            servers=servers,
            resources=RESOURCES,
            expose={"type": "NodePort"},
            kubeconfig_path=self.kubeconfig,
            **options,
        )
        assert not self.database or self.database.password not in done.text
        assert not done.failed, done.msg
        return done

    def inside(self, *arguments: str, stdin: str | None = None) -> str:
        return ran(self.kubeconfig, *arguments, stdin=stdin)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.kubeconfig, SHARED_LAG if self.database else 0)

    def pods(self, part: str = "server") -> dict[str, str]:
        """The pods of a part that are ready, with their addresses."""
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in ready_pods(self.hub, NAMESPACE, part)}

    def end(self, *names: str) -> None:
        """At once, as when their machine has gone."""
        ran(self.hub, "-n", NAMESPACE, "delete", "pod", *names, "--force", "--grace-period=0")

    def answers(self) -> bool:
        return answers(self.kubeconfig)


def answers(kubeconfig: Path) -> bool:
    return kubectl(kubeconfig, "get", "--raw", "/readyz", "--request-timeout=5s").returncode == 0


def ready_pods(hub: Path, namespace: str, part: str) -> list[dict]:
    """Those of a part of a virtual cluster on the host."""
    those = ("-n", namespace, "-l", f"app.kubernetes.io/component={part}")
    found = json.loads(ran(hub, "get", "pods", *those, "-o", "json"))["items"]
    return [pod for pod in found if {"type": "Ready", "status": "True"}.items() <= _ready(pod).items()]


def _ready(pod: dict) -> dict:
    conditions = pod["status"].get("conditions") or []
    return next((one for one in conditions if one["type"] == "Ready"), {})


@pytest.fixture(scope="module", params=[f"{place}-{mode}" for mode in MODES for place in ("etcd", "postgres")])
def steady(hub: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    network = os.environ.get("LAB_SUBNET", "10.213.0.0/24")
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    place, name = request.param.split("-")
    mode: dict[str, Any] = {"mode": name}
    if name == "dedicated":
        mode |= {"agents": 1, "registries": {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}}
    if place == "etcd":
        lab("build", "--etcd")
    running = Postgres(f"{network.rpartition('.')[0]}.254").running() if place == "postgres" else nullcontext()
    with running as database:
        assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
        steady = Steady(hub, tmp_path_factory.mktemp("steady") / "prod.yaml", version(hub), database, mode)
        steady.run(servers=1 if database else 3)
        # Whoever follows a server that is ended at once waits for its leases.
        steady.inside("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
        steady.inside("create", "secret", "generic", "kept", "--from-literal=word=horse")
        yield steady
        assert not run_module("vcluster", **tenant, name="prod", state="absent").failed
        assert TENANT not in ran(hub, "get", "persistentvolumes", "-o", "jsonpath={.items[*].spec.claimRef.namespace}")
        assert not run_module("tenant_quota", **tenant, state="absent").failed


def on_postgres(steady: Steady) -> None:
    if not steady.database:
        pytest.skip("etcd has three servers from the beginning")


def on_etcd(steady: Steady) -> None:
    if steady.database:
        pytest.skip("on PostgreSQL there are no members of etcd")


def test_a_server_without_a_volume_comes_back_with_all_it_knew(steady: Steady) -> None:
    on_postgres(steady)
    before = steady.pods()
    steady.end("server-0")
    until(lambda: steady.pods().keys() == {"server-0"} and steady.pods() != before, BACK_SECONDS)
    shown = steady.inside("get", "secret", "kept", "-o", "jsonpath={.data.word}")
    assert shown == "aG9yc2U=", "with the kubeconfig from before: the CA is the same too"
    assert not steady.run(servers=1).changed


def test_one_server_becomes_three_and_a_second_run_changes_nothing(steady: Steady) -> None:
    assert steady.run().changed == bool(steady.database)
    assert steady.pods().keys() == SERVERS
    assert not steady.run().changed
    shown = run_module("vcluster_info", kubeconfig=steady.hub, tenant=TENANT).data["vclusters"][0]
    assert (shown["servers"], shown["status"]) == ("3/3", "Ready")
    assert steady.inside("get", "secret", "kept", "-o", "name")


def test_etcd_has_a_member_beside_each_server_and_servers_stay_three(steady: Steady) -> None:
    on_etcd(steady)
    assert steady.pods("etcd").keys() == MEMBERS
    refused = run_module(
        "vcluster", kubeconfig=steady.hub, tenant=TENANT, name="prod", version=steady.version, servers=1,
        resources=RESOURCES, expose={"type": "NodePort"}, **steady.mode,
    )  # fmt: skip
    assert "servers: cannot be changed from 3 to 1" in refused.msg
    assert steady.pods().keys() == SERVERS


def test_its_database_is_open_to_the_servers_and_closed_to_its_pods(steady: Steady) -> None:
    if steady.database:
        target = {f"tcp://{steady.database.address}:{steady.database.port}"}
    else:
        target = {f"tcp://{address}:{port}" for address in steady.pods("etcd").values() for port in (2379, 2380, 2381)}
    ours = Space(steady.kubeconfig, "default")
    outsider = Space(steady.hub, "default")
    for space in (ours, outsider):
        space.serve("asking")
        space("wait", "pod/asking", "--for=condition=Ready", "--timeout=120s")
    try:
        if steady.database:  # that it can be reached at all; etcd's members are behind walls for others, too
            until_reached(outsider, "asking", target, target)
        until_reached(ours, "asking", target, set())
    finally:
        outsider("delete", "pod/asking", "service/asking", "--wait=false")


def test_whichever_member_of_etcd_ends_writes_go_on(steady: Steady) -> None:
    on_etcd(steady)
    ledger = steady.ledger
    with ledger.writing():
        for name in sorted(MEMBERS):
            ledger.wait_for(10)
            steady.end(name)
            ledger.wait_for(20)
            until(lambda: steady.pods("etcd").keys() == MEMBERS, BACK_SECONDS)
    assert len(ledger.check()) > 60


def test_whichever_server_ends_the_others_go_on_and_pods_are_still_made(steady: Steady) -> None:
    ledger = steady.ledger
    syncers = len(steady.pods("syncer"))
    assert syncers == (3 if steady.mode["mode"] == "shared" else 0)
    for name in sorted(SERVERS):
        with ledger.writing():
            ledger.wait_for(10)
            steady.end(name, *([name.replace("server", "syncer")] if syncers else []))
            ledger.wait_for(20)
        # As many times as make it likely that nobody is led to the one that has gone any more.
        until(lambda: all(steady.answers() for _time in range(20)), BACK_SECONDS)
        # Another syncer takes over, if the one that ended was the one that worked.
        other = Space(steady.kubeconfig, "default")
        other.serve(f"after-{name}")
        other("wait", f"pod/after-{name}", "--for=condition=Ready", "--timeout=120s")
        assert other("exec", f"after-{name}", "--", "/web", "reach", "tcp://127.0.0.1:8080").strip().endswith("open")
        other("delete", "pod", f"after-{name}", "--wait=false")
        until(lambda: len(steady.pods()) == 3, BACK_SECONDS)
        until(lambda: len(steady.pods("syncer")) == syncers, BACK_SECONDS)
    assert len(ledger.check()) > 60


@contextmanager
def asked(steady: Steady) -> Iterator[list[str]]:
    """New connections to the API all the while; what those without a good answer got is in the list."""
    cluster = yaml.safe_load(steady.kubeconfig.read_text())["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    address = urlsplit(cluster["server"])
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            connection = HTTPSConnection(address.hostname, address.port, timeout=10, context=context)
            try:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                if answer.status != HTTPStatus.OK:
                    failures.append(f"{answer.status} {answer.read()}")
            except (OSError, HTTPException) as error:
                failures.append(repr(error))
            finally:
                connection.close()

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _thread in range(2)]
        try:
            yield failures
        finally:
            over.set()
        for one in asking:
            one.result()


def test_a_planned_end_of_one_refuses_nobody(steady: Steady) -> None:
    before = steady.pods()
    with asked(steady) as failures:
        for name in before:
            ran(steady.hub, "-n", NAMESPACE, "delete", "pod", name)
            until(lambda: len(steady.pods()) == 3, BACK_SECONDS)
    assert not set(steady.pods().values()) & set(before.values())
    assert failures == []


def test_another_release_comes_to_one_server_after_the_other(steady: Steady) -> None:
    following = next_label(steady.hub)
    with asked(steady) as failures:
        assert steady.run(version=following).changed
    assert failures == []
    assert len(steady.pods()) == 3
    assert not steady.run(version=following).changed
    steady.version = following


def test_all_pods_at_once_and_every_address_changes(steady: Steady) -> None:
    ledger = steady.ledger
    before = steady.pods() | steady.pods("etcd")
    pod = steady.inside("get", "pod", "asking", "-o", "jsonpath={.metadata.uid}")
    with ledger.writing():
        ledger.wait_for(20)
        begun = time.monotonic()
        steady.end(*before)
        until(lambda: steady.pods() and steady.answers(), BACK_SECONDS)
        answered = time.monotonic() - begun
        until(lambda: len(steady.pods()) == 3, 2 * BACK_SECONDS)
        print(f"all of its pods replaced: API after {answered:.1f} s, all ready after {time.monotonic() - begun:.1f} s")
        ledger.wait_for(20)
    assert not set((steady.pods() | steady.pods("etcd")).values()) & set(before.values())
    assert len(ledger.check()) > 40
    assert steady.inside("get", "pod", "asking", "-o", "jsonpath={.metadata.uid}") == pod, "its pods went on"
    assert not steady.run().changed


def test_it_sleeps_as_a_whole_and_wakes_up_as_a_whole(steady: Steady) -> None:
    steady.run(state="paused")
    assert not steady.pods() | steady.pods("etcd")
    steady.run()
    assert len(steady.pods()) == 3
    assert steady.inside("get", "secret", "kept", "-o", "name")
