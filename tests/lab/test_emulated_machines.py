"""Hosts with a kernel of their own, Debian 12 and 13 on cgroup v2: limits hold, writes outlive a power cut."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness import RELEASE, lab, ran, until
from .ledger import Ledger
from .own_site import OwnSite, own_site
from .tenantry_lab.emulator import SYSTEMS
from .test_site import changed
from .test_vcluster import version

TENANT = "bare"
MODES = ("shared", "dedicated")
# An emulated processor may be ten times slower.
WAIT = "--timeout=600s"
BACK_SECONDS = 900

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module", params=SYSTEMS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSite]:
    lab("build")
    vclusters = [
        {"name": "shared", "version": RELEASE, "durability": "full", "wait_timeout": 1200},
        {"name": "dedicated", "version": RELEASE, "mode": "dedicated", "agents": 1, "wait_timeout": 1200},
    ]
    folder, system = tmp_path_factory.mktemp(request.param), ("--emulated", request.param)
    with own_site(folder, request.param, TENANT, vclusters, *system) as found:
        found.variables["platform_wait_timeout"] = 1200
        yield found


def on(site: OwnSite, *words: str) -> str:
    return lab("ssh", site.machine, *words)


def test_it_is_such_a_machine(site: OwnSite) -> None:
    assert on(site, "stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    assert f'VERSION_ID="{site.machine.removeprefix("debian")}"' in on(site, "cat", "/etc/os-release")
    assert on(site, "cat", "/proc/1/comm").strip() == "systemd"


def test_the_platform_and_both_modes_run_on_it(site: OwnSite) -> None:
    site.run("site", RELEASE)
    assert version(site.hub) == RELEASE
    for mode in MODES:
        guest = site.guest(mode)
        guest.serve("web")
        guest("wait", "pod/web", "--for=condition=Ready", WAIT)
        assert guest("exec", "web", "--", "/web", "get", "http://web:8080/")
    assert set(changed(site.run("site", RELEASE)).values()) == {0}


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_of_memory_holds(site: OwnSite, mode: str) -> None:
    """The one pod that goes over its limit ends, and no other."""
    guest = site.guest(mode)
    limits = {"cpu": "100m", "memory": "32Mi"}
    container = {"name": "web", "image": "docker.io/lab/web:1", "args": ["flood", "memory", "120"]}
    spec = {"restartPolicy": "Never", "containers": [{**container, "resources": {"limits": limits}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "eater"}, "spec": spec}
    guest("create", "-f", "-", stdin=json.dumps(pod))

    def reason() -> str:
        statuses = guest.json("pod", "eater")["status"].get("containerStatuses") or [{}]
        return (statuses[0].get("state") or {}).get("terminated", {}).get("reason", "")

    until(lambda: reason() == "OOMKilled", BACK_SECONDS)
    guest("wait", "pod/web", "--for=condition=Ready", WAIT)
    guest("delete", "pod", "eater")


def test_all_is_back_after_a_reboot(site: OwnSite) -> None:
    lab("node", "reboot", site.machine)
    for mode in MODES:
        guest = site.guest(mode)
        until(lambda guest=guest: _answers(guest), BACK_SECONDS)
        guest("wait", "pod/web", "--for=condition=Ready", WAIT)
        assert guest("exec", "web", "--", "/web", "get", "http://web:8080/")
    assert set(changed(site.run("site", RELEASE)).values()) == {0}


def test_no_acknowledged_write_is_lost_by_a_power_cut(site: OwnSite) -> None:
    """The emulator is killed under four writers, and what its kernel had not written is gone."""
    ledger = Ledger(site.guest("shared").kubeconfig)
    with ledger.writing():
        ledger.wait_for(100)
        lab("node", "off", site.machine)
    lab("node", "add", site.machine)
    until(lambda: _answers(site.guest("shared")), BACK_SECONDS)
    assert len(ledger.check()) >= 60
    ran(site.hub, "wait", "node", "--all", "--for=condition=Ready", WAIT)


def _answers(guest: object) -> bool:
    try:
        return bool(guest("get", "--raw", "/readyz", "--request-timeout=5s"))
    except AssertionError:
        return False
