"""Real servers, agents and members of etcd get other CAs, and the pods of the tenant go on (CRED-6)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import kubectl, lab, ran, run_module, until
from .test_high_availability import ETCD
from .test_revoked_certificates_machine import kubeconfig_with
from .test_vcluster_states import TENANT, Bed, _bed, dormitory

__all__ = ["dormitory"]

pytestmark = pytest.mark.nightly

SHAPES: dict[str, dict[str, Any]] = {
    "shared": {"resources": {"cpu": 2, "memory": "2Gi", "pods": 10}},
    "three": {**ETCD, "servers": 3, "resources": {"cpu": "8", "memory": "8Gi", "pods": 20}},
    "dedicated": {"mode": "dedicated", "agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}},
}
# So long may the address of three servers lead to one that has just stopped.
GAP_SECONDS = 15


@pytest.fixture(scope="module", params=SHAPES)
def bed(request: pytest.FixtureRequest, dormitory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    if request.param == "three":
        lab("build", "--etcd")
    yield from _bed(dormitory, request.param, tmp_path_factory.mktemp("rotated"), SHAPES[request.param])


@contextmanager
def answering(kubeconfig: Path) -> Iterator[list[float]]:
    """For how long at a time its API did not answer, in seconds."""
    gaps, over = [0.0], threading.Event()

    def ask() -> None:
        last = time.monotonic()
        while not over.is_set():
            if kubectl(kubeconfig, "get", "--raw", "/version", "--request-timeout=3s").returncode == 0:
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
            over.wait(0.3)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield gaps
    finally:
        over.set()
        thread.join()


def test_rotation_keeps_pods_and_ends_old_certificates(bed: Bed, tmp_path: Path) -> None:
    admin, where = bed.options["kubeconfig_path"], ("-n", f"{TENANT}--{bed.name}")
    files = {kind: f"/var/lib/rancher/k3s/server/tls/client-admin.{kind}" for kind in ("crt", "key")}
    user = {
        f"client-{name}-data": ran(bed.hub, "exec", *where, "server-0", "-c", "k3s", "--", "base64", "-w0", files[kind])
        for kind, name in (("crt", "certificate"), ("key", "key"))
    }
    stolen = kubeconfig_with(user, admin, tmp_path / "stolen.yaml")
    assert kubectl(stolen, "get", "secrets", "-A").returncode == 0, "the positive control"
    path = tmp_path / "alice.yaml"
    alice = {"kubeconfig": bed.hub, "tenant": TENANT, "name": "alice", "role": "admin", "kubeconfig_path": path}
    assert not run_module("tenant_user", **alice).failed
    before, sleeping = bed.pods(), _sleepers(bed)

    with answering(path) as gaps:
        rotated = bed.run("rotated", kubeconfig_path=admin, diff=True)
    assert not rotated.failed, rotated.msg
    print(f"{bed.name}: {rotated.data['seconds']} s, longest without an answer {max(gaps):.1f} s")
    assert "PRIVATE KEY" not in rotated.text
    assert rotated.data["outdated_kubeconfigs"] == ["alice"]
    assert until(lambda: kubectl(admin, "get", "nodes").returncode == 0)
    if bed.name == "three":
        assert max(gaps) < GAP_SECONDS
    if bed.name != "dedicated":
        assert _sleepers(bed) == sleeping
    replaced = {name for name, uid in bed.pods().items() if before.get(name) != uid}
    assert {name.rpartition("-")[0] for name in replaced} >= {"server"}

    stolen = kubeconfig_with(user, admin, tmp_path / "stolen.yaml")
    until(lambda: "Unauthorized" in kubectl(stolen, "get", "secrets", "-A").stderr)
    bed.inside("rollout", "status", "deployment/sleeper", "--timeout=120s")
    until(lambda: kubectl(admin, "logs", "deployment/sleeper").returncode == 0, 120)
    assert run_module("tenant_user", **alice).changed
    assert kubectl(path, "get", "pods").returncode == 0
    again = bed.run()
    assert (again.failed, again.changed) == (False, False), again.text[-3000:]
    assert not bed.run("rotated", rotate_older_than="1d").changed
    assert run_module("tenant_user_info", kubeconfig=bed.hub, tenant=TENANT).data["findings"] == []
    assert not run_module("tenant_user", **{**alice, "state": "absent"}).failed


def _sleepers(bed: Bed) -> list[tuple[str, int]]:
    """The tenant's pods by UID, and how often they were restarted."""
    found = yaml.safe_load(bed.inside("get", "pods", "-l", "app=sleeper", "-o", "yaml"))["items"]
    return [(one["metadata"]["uid"], one["status"]["containerStatuses"][0]["restartCount"]) for one in found]
