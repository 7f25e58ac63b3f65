"""A lab leaves this computer as it found it. Runs a second lab beside the usual one, on a subnet of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[1] / "lab"
BUILT = Path(os.environ.get("LAB_DIR") or Path(__file__).resolve().parents[3] / "build" / "lab")
SUBNET = "10.219.0.0/24"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")


class SecondLab:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = os.environ | {"LAB_DIR": str(directory), "LAB_SUBNET": SUBNET}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([LAB, *words], env=self.environment, capture_output=True, text=True, check=False)

    def do(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual lab's build, hard-linked, for a lab with a state of its own."""
    subprocess.run([LAB, "build"], check=True, capture_output=True)
    directory = tmp_path_factory.mktemp("second") / "lab"
    for name in ("bin", "rootfs", "mirror", "oci"):
        shutil.copytree(BUILT / name, directory / name, copy_function=os.link)
    return directory


@pytest.fixture
def second_lab(directory: Path) -> Iterator[SecondLab]:
    lab = SecondLab(directory)
    yield lab
    lab.do("down")


def computer() -> dict[str, str]:
    """What a lab could leave behind, as this computer tells it. The usual lab may be up: it changes nothing here."""
    return {
        "links": _links(),
        "routes": _output("ip", "route", "show", "table", "all"),
        "firewall": _output("iptables-save"),
        "nftables": _output("nft", "list", "ruleset"),
        "mounts": "\n".join(sorted(_output("findmnt", "--noheadings", "--list", "--output=TARGET,FSTYPE").split("\n"))),
        "control groups": "\n".join(sorted(map(str, Path("/sys/fs/cgroup").glob("*/*/")))),
        "kernel settings": _output("sysctl", "vm.overcommit_memory", "kernel.panic", "net.ipv4.ip_forward"),
        "containers": _output("podman", "ps", "--all", "--quiet"),
        "volumes": _output("podman", "volume", "ls", "--quiet"),
    }


def _links() -> str:
    return "\n".join(sorted(
        f"{link['ifname']} {[address['local'] for address in link['addr_info']]}"
        for link in json.loads(_output("ip", "-json", "address"))
    ))  # fmt: skip


def _output(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.nightly
def test_down_leaves_no_trace(second_lab: SecondLab, tmp_path: Path) -> None:
    before = computer()
    second_lab.do("up", "--edge-kubeconfig", str(tmp_path / "edge.yaml"))
    second_lab.do("ssh", "edge", "sysctl", "-q", "-w", "kernel.panic=77")
    second_lab.do("node", "add", "extra")
    during = computer()
    second_lab.do("down")
    after = computer()
    assert after == before
    # What a lab adds while it is up, and nothing else: no packet filter rule, no container of the user's podman.
    added = {"links", "routes", "mounts", "control groups", "kernel settings"}
    assert {name for name in before if before[name] != during[name]} == added


def test_up_twice_changes_nothing(second_lab: SecondLab) -> None:
    second_lab.do("up", "--nodes", "hub")
    boot = second_lab.do("ssh", "hub", "stat", "--format=%Y", "/proc/1")
    second_lab.do("up", "--nodes", "hub")
    assert second_lab.do("ssh", "hub", "stat", "--format=%Y", "/proc/1") == boot


def test_a_subnet_in_use_is_refused_before_anything_is_made(second_lab: SecondLab, tmp_path: Path) -> None:
    second_lab.do("up", "--nodes", "hub")
    third = SecondLab(tmp_path / "third")
    for name in ("bin", "rootfs", "mirror"):
        shutil.copytree(second_lab.directory / name, third.directory / name, copy_function=os.link)
    refused = third.run("up", "--nodes", "hub")
    assert refused.returncode == 1
    owner = second_lab.directory
    assert refused.stderr.endswith(
        f"lab: {SUBNET} is used by the lab in {owner}. Use that one down, or set LAB_SUBNET\n"
    )
    third.do("down")
    assert second_lab.do("ssh", "hub", "hostname") == "hub\n"


def test_a_fresh_machine_is_empty_and_well(second_lab: SecondLab) -> None:
    second_lab.do("node", "add", "extra")
    assert second_lab.do("ssh", "extra", "systemctl", "is-system-running") == "running\n"
    assert second_lab.run("ssh", "extra", "pgrep", "--list-name", "containerd|k3s").stdout == ""
    assert second_lab.run("ssh", "extra", "ls", "/etc/rancher").returncode == 2


def test_up_completes_what_was_left_half_made(second_lab: SecondLab) -> None:
    second_lab.do("up", "--nodes", "hub")
    interface = "lab-" + SUBNET.removesuffix(".0/24").replace(".", "-")
    second_lab.do("node", "rm", "hub")
    subprocess.run(["ip", "link", "set", interface, "alias", ""], check=True)
    subprocess.run(["ip", "address", "flush", "dev", interface], check=True)
    second_lab.do("up", "--nodes", "hub")


def test_a_machine_is_reached_by_its_key_only(second_lab: SecondLab) -> None:
    machine = json.loads(second_lab.do("node", "add", "extra"))
    ssh = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
    ssh += ["-o", f"UserKnownHostsFile={machine['known_hosts']}", f"{machine['user']}@{machine['address']}"]
    assert subprocess.run([*ssh[:1], "-i", machine["key"], *ssh[1:], "sudo", "true"], check=False).returncode == 0
    without_key = subprocess.run([*ssh, "true"], check=False, capture_output=True, text=True)
    assert without_key.returncode == 255
    assert "(publickey)" in without_key.stderr, "no other way than a key is offered"


def test_a_rebooted_machine_keeps_its_disk_and_loses_its_memory(second_lab: SecondLab) -> None:
    second_lab.do("node", "add", "extra")
    second_lab.do(
        "ssh", "extra", "touch /root/disk /var/lib/rancher/disk /run/memory; ip link add leftover type bridge"
    )
    second_lab.do("node", "reboot", "extra")
    assert second_lab.do("ssh", "extra", "ls", "/root/disk", "/var/lib/rancher/disk").count("disk") == 2
    assert second_lab.run("ssh", "extra", "ls", "/run/memory").returncode != 0
    assert second_lab.run("ssh", "extra", "ip", "link", "show", "leftover").returncode != 0
