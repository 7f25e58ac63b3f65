"""The reconciler in its pod: time until a requested virtual cluster is ready, kills in the middle, what it uses idle.

Nightly: two builds of an image layer, and twenty virtual clusters.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import ansible_playbook, kubectl, lab, ran, run_module, sized, until
from .people import until_old_enough
from .tenantry_lab.execution_environment import IMAGE
from .test_self_service_site import request_for

pytestmark = pytest.mark.nightly
PODS = "app.kubernetes.io/component=reconciler"
TENANT, HOME, SYSTEM = "club", "tenant-club", "tenantry-system"
# Of a request that the reconciler serves, against the playbook run by hand at the same moment.
MOST_RATIO = 1.2


@pytest.fixture(scope="module")
def eva(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a developer of a tenant, for requests."""
    path, tenant = tmp_path_factory.mktemp("club") / "eva.yaml", {"kubeconfig": hub, "tenant": TENANT}
    quota = {"cpu": 4, "memory": "4Gi", "storage": "20Gi", "pods": 20, "vclusters": 2}
    user = {"name": "eva", "role": "developer", "hub_access": True, "kubeconfig_path": path}
    for made in (run_module("tenant_quota", **tenant, quota=quota), run_module("tenant_user", **tenant, **user)):
        assert not made.failed, made.msg
    until_old_enough(hub, HOME)
    yield path
    kubectl(hub, "delete", "virtualclusterrequests", "--all", "-n", HOME)
    by_hand()
    for gone in (
        run_module("tenant_user", **tenant, name="eva", state="absent"),
        run_module("tenant_quota", **tenant, state="absent"),
    ):
        assert not gone.failed, gone.msg


def by_hand() -> None:
    ansible_playbook("playbooks/self_service.yml", "-e", f"tenantry_tenant={TENANT}")


def installed(hub: Path, *, wanted: bool) -> None:
    """Install the reconciler by the role, with the variables of the demo's inventory, or remove it."""
    lab("build", "--reconciler")
    options = {"platform_reconciler": wanted, "platform_reconciler_image": IMAGE}
    ansible_playbook("playbooks/platform.yml", "-e", json.dumps(options))
    assert (kubectl(hub, "get", "deployment", "reconciler", "-n", SYSTEM).returncode == 0) == wanted


@pytest.fixture(scope="module")
def reconciler(hub: Path, eva: Path) -> Iterator[Path]:
    installed(hub, wanted=True)
    yield hub
    installed(hub, wanted=False)


def seconds_until_ready(eva: Path, name: str, *, hand: bool) -> float:
    begun = time.monotonic()
    ran(eva, "create", "-f", "-", stdin=request_for(name, "eva"))
    if hand:
        by_hand()
    ran(eva, "wait", f"vcr/{name}", "--for=condition=Ready", "--timeout=5m")
    return time.monotonic() - begun


def delete(hub: Path, eva: Path, name: str, *, hand: bool) -> None:
    ran(eva, "delete", "vcr", name)
    if hand:
        by_hand()
    until(lambda: kubectl(hub, "get", "namespace", f"{TENANT}--{name}").returncode != 0, 120)


def logs(hub: Path) -> str:
    return ran(hub, "logs", "-n", SYSTEM, "deployment/reconciler")


def test_a_request_takes_no_longer_than_the_playbook_by_hand(hub: Path, eva: Path) -> None:
    rounds = sized(3, 10)
    times: dict[bool, list[float]] = {True: [], False: []}
    for hand in (True, False):
        installed(hub, wanted=not hand)
        for number in range(rounds):
            times[hand].append(seconds_until_ready(eva, f"r{number}", hand=hand))
            delete(hub, eva, f"r{number}", hand=hand)
    installed(hub, wanted=False)
    by_hand_median, served = (statistics.median(times[hand]) for hand in (True, False))
    print(f"ready by hand {by_hand_median:.1f} s, by the reconciler {served:.1f} s: {times}")
    assert served / by_hand_median <= MOST_RATIO


def test_a_creation_survives_kills_of_the_pod(reconciler: Path, eva: Path) -> None:
    ran(eva, "create", "-f", "-", stdin=request_for("mine", "eva"))
    for _kill in range(sized(3, 10)):
        ran(reconciler, "rollout", "status", "deployment/reconciler", "-n", SYSTEM, "--timeout=2m")
        until(lambda: "self_service" in logs(reconciler))
        ran(
            reconciler,
            "delete",
            "pod",
            "-n",
            SYSTEM,
            "-l",
            "app.kubernetes.io/component=reconciler",
            "--grace-period=0",
            "--force",
        )
    ran(eva, "wait", "vcr/mine", "--for=condition=Ready", "--timeout=5m")
    delete(reconciler, eva, "mine", hand=False)


def test_idle_it_uses_little(reconciler: Path) -> None:
    """Between two runs of its schedule, by the kubelet's own counters."""
    until(lambda: "housekeeping succeeded" in logs(reconciler), 120)
    node = ran(reconciler, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")

    def usage() -> tuple[float, int]:
        summary = json.loads(ran(reconciler, "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
        pod = next(one for one in summary["pods"] if one["podRef"]["name"].startswith("reconciler-"))
        return pod["cpu"]["usageCoreNanoSeconds"] / 1e9, pod["memory"]["workingSetBytes"]

    (before, _bytes), begun = usage(), time.monotonic()
    until(lambda: time.monotonic() - begun > 60, 90)
    after, memory = usage()
    share = (after - before) / (time.monotonic() - begun)
    print(f"idle: {share * 1000:.1f} millicores, {memory >> 20} MiB")
    assert share < 0.05
    assert memory < 128 << 20
