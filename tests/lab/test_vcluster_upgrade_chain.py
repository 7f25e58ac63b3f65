"""A virtual cluster from the oldest of the lab's builds to the newest, by single minors, on a host of the newest.

So it also shows virtual clusters that are older than their host, by up to three minors: their pods start and serve.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .databases import Postgres
from .harness import MIRROR, ModuleResult, kubectl, lab, ran, run_module
from .tenantry_lab.config import BUILDS
from .test_high_availability import ETCD
from .test_network import Space
from .test_vcluster import version

TENANT = "ladder"
RELEASES = tuple(reversed(BUILDS))
RESOURCES = {"cpu": "8", "memory": "8Gi", "pods": 20}

pytestmark = pytest.mark.nightly


@dataclass
class Ladder:
    hub: Path
    kubeconfig: Path
    options: dict[str, Any]

    def run(self, release: str) -> ModuleResult:
        options = {"resources": RESOURCES, "expose": {"type": "NodePort"}, "kubeconfig_path": self.kubeconfig}
        done = run_module(
            "vcluster", kubeconfig=self.hub, tenant=TENANT, name="up", version=release, **options, **self.options
        )
        assert not done.failed, done.msg
        return done

    def serves(self, name: str) -> str:
        """The identity of a pod that answers at its Service's name."""
        space = Space(self.kubeconfig, "default")
        space("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        assert space("exec", name, "--", "/web", "get", f"http://{name}:8080/")
        return space("get", "pod", name, "-o", "jsonpath={.metadata.uid}")


@pytest.fixture(params=["shared", "dedicated", "shared-etcd", "shared-postgres"])
def ladder(hub: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ladder]:
    mode, _dash, place = request.param.partition("-")
    options: dict[str, Any] = {"mode": mode}
    if mode == "dedicated":
        options |= {"agents": 1, "registries": {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}}
    for release in RELEASES[:-1]:
        lab("build", "--k3s", release)
    if place == "etcd":
        lab("build", "--etcd")
        options |= {**ETCD, "servers": 3}
    address = f"{os.environ.get('LAB_SUBNET', '10.213.0.0/24').rpartition('.')[0]}.254"
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    with Postgres(address).running() if place == "postgres" else nullcontext() as database:
        if database:
            options |= {"datastore": {"endpoint": database.endpoint}, "servers": 3}
        assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
        yield Ladder(hub, tmp_path / "up.yaml", options)
        assert not run_module("vcluster", **tenant, name="up", state="absent").failed
        assert not run_module("tenant_quota", **tenant, state="absent").failed


def test_every_minor_keeps_what_the_first_wrote(ladder: Ladder) -> None:
    first, *others = RELEASES
    ladder.run(first)
    assert version(ladder.kubeconfig) == first
    ran(ladder.kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    ran(ladder.kubeconfig, "create", "secret", "generic", "kept", "--from-literal=word=horse")
    space = Space(ladder.kubeconfig, "default")
    space.serve("first")
    identity = ladder.serves("first")
    for release in others:
        assert ladder.run(release).changed
        assert version(ladder.kubeconfig) == release
        assert ran(ladder.kubeconfig, "get", "secret", "kept", "-o", "jsonpath={.data.word}") == "aG9yc2U="
        name = "of-1-" + release.split(".")[1]
        space.serve(name)
        assert ladder.serves(name)
        if ladder.options["mode"] == "shared":
            assert ladder.serves("first") == identity, "the tenant's pods go on"
        assert not ladder.run(release).changed
    there = ran(ladder.kubeconfig, "get", "pods", "-o", "name").split()
    assert len(there) == len(RELEASES), "those of every minor"
    assert kubectl(ladder.kubeconfig, "get", "--raw", "/readyz").returncode == 0
