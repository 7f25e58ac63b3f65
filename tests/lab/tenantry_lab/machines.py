"""The lab's machines: Debian with systemd and sshd, each a privileged container on the lab's network."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from . import network, ssh
from .config import EXTRA_HOSTS, FIXED_HOSTS, SOURCE, Lab, LabError
from .podman import containers, podman
from .process import cached, digest, file_digest, step, tree_digest

IMAGE = "localhost/lab/machine:latest"
ADDRESS_LABEL = "tenantry.lab.address"
EMULATED = "emulated"
BOOT_SECONDS = 60


@dataclass(frozen=True)
class Machine:
    name: str
    address: str
    state: str
    container_id: str  # of an emulated one its process
    emulated: bool = False

    @property
    def container(self) -> str:
        return f"lab-{self.name}"


def build_image(lab: Lab, root_file_system: Path, containerd: Path) -> None:
    """Import the Debian root file system into the lab's own podman storage and add what makes it a machine."""
    source, context = SOURCE / "node", lab.dir / "node"
    stamp = root_file_system.with_name(f".{root_file_system.name}.key").read_text()

    def make() -> None:
        podman(lab, "import", root_file_system, "localhost/lab/debian:latest")
        shutil.copytree(source, context, dirs_exist_ok=True)
        shutil.copyfile(containerd, context / "containerd.tar")
        podman(lab, "build", "--network=none", "--tag", IMAGE, context)
        shutil.rmtree(context)
        podman(lab, "image", "prune", "--force")
        (lab.storage / "machine-image").touch()

    cached(
        lab.storage / "machine-image",
        digest(stamp, file_digest(containerd), tree_digest(source)),
        make,
        "image of a machine",
    )


def machines(lab: Lab) -> list[Machine]:
    found = [
        Machine(
            name=entry["Names"][0].removeprefix("lab-"),
            address=entry["Labels"][ADDRESS_LABEL],
            state=entry["State"],
            container_id=entry["Id"],
        )
        for entry in containers(lab)
    ]
    found += [_emulated(path) for path in (lab.run / EMULATED).glob("*/machine.json")]
    return sorted(found, key=lambda machine: IPv4Address(machine.address))


def _emulated(file: Path) -> Machine:
    """As emulator.py left it; the file of its process stays when it ends."""
    pid = file.with_name("pid")
    process = pid.read_text().strip() if pid.exists() else ""
    state = "running" if process and Path(f"/proc/{process}/exe").exists() else "exited"
    return Machine(**json.loads(file.read_text()), state=state, container_id=process, emulated=True)


def find(lab: Lab, name: str) -> Machine:
    for machine in machines(lab):
        if machine.name == name:
            return machine
    raise LabError(f"no machine {name!r} in the lab. Run: tests/lab/lab status")


def free_address(lab: Lab, taken: set[str]) -> IPv4Address:
    for number in EXTRA_HOSTS:
        if str(lab.subnet[number]) not in taken:
            return lab.subnet[number]
    raise LabError(f"no address is left in {lab.subnet}. Remove machines with: tests/lab/lab node rm NAME")


def add(lab: Lab, name: str) -> Machine:
    """Create and start a machine, or start the one that exists; does not wait for its boot."""
    existing = {machine.name: machine for machine in machines(lab)}
    if machine := existing.get(name):
        if machine.state != "running":
            _power_on(lab, machine)
        return machine
    number = FIXED_HOSTS.get(name)
    address = lab.subnet[number] if number else free_address(lab, {entry.address for entry in existing.values()})
    network.add_machine(lab, name, address)
    podman(lab, "run", "--detach", *_arguments(lab, name, address), IMAGE)
    return find(lab, name)


def _power_on(lab: Lab, machine: Machine) -> None:
    """Start a machine that is off, with a network as new as its boot."""
    network.add_machine(lab, machine.name, IPv4Address(machine.address))
    podman(lab, "start", machine.container)


def _arguments(lab: Lab, name: str, address: IPv4Address) -> list[str]:
    keys = ssh.prepare(lab, address)
    return [
        "--pull=never",
        f"--name=lab-{name}",
        f"--hostname={name}",
        f"--label={ADDRESS_LABEL}={address}",
        "--privileged",
        "--cgroupns=private",
        f"--cgroup-parent=/{lab.interface}",
        # podman's own preparation for systemd hands a machine the computer's control groups where those are version 1.
        "--systemd=false",
        "--tmpfs=/run:exec",
        "--tmpfs=/run/lock",
        "--tmpfs=/tmp:exec",
        "--stop-timeout=20",
        # The defaults of podman are beyond what a user of some machines may set, and then runc refuses to start.
        "--ulimit=nofile=16384:16384",
        "--ulimit=nproc=16384:16384",
        f"--network=ns:{network.namespace(lab, name)}",
        f"--add-host={name}:{address}",
        f"--dns={lab.mirror_address}",
        f"--volume={keys}:/etc/ssh/lab:ro",
        # containerd's overlay mounts need another file system than the container's own overlay below them.
        "--volume=/var/lib/rancher",
        "--volume=/var/lib/kubelet",
    ]


def reboot(lab: Lab, machine: Machine) -> None:
    podman(lab, "stop", machine.container)
    _power_on(lab, machine)


def power_off(lab: Lab, machine: Machine) -> None:
    """As if somebody pulled the plug."""
    podman(lab, "kill", machine.container)


def remove(lab: Lab, machine: Machine) -> None:
    podman(lab, "rm", "--force", "--volumes", "--time=0", machine.container)
    network.remove_machine(lab, machine.name)


def wait_ready(lab: Lab, machine: Machine, seconds: float = BOOT_SECONDS) -> None:
    with step(f"{machine.name}: boot"):
        ssh.write_config(lab, ((entry.name, entry.address) for entry in machines(lab)))
        ssh.wait_ready(lab, machine.name, machine.address, seconds)


def execute(lab: Lab, machine: Machine, *words: str) -> str:
    """Run a command as root in a machine without SSH, as a cloud's console would."""
    return podman(lab, "exec", machine.container, *words)


def remove_all(lab: Lab) -> None:
    if names := [machine.container for machine in machines(lab)]:
        podman(lab, "rm", "--force", "--volumes", "--time=0", *names)
