"""Machines with a kernel of their own, in an emulator: cgroup v2 and systemd as on real hosts, Debian 12 or 13.

Only nightly tests have them: they are slower by an order of magnitude. KVM is not asked for, since computers that
are virtual machines themselves may offer one that does not work.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from . import deps, golang, network, rootfs, ssh
from .config import SOURCE, Lab, LabError
from .machines import EMULATED, Machine, find, free_address, machines
from .process import cached, digest, file_digest, output, run, wait_for
from .rootfs import RootFileSystem

SYSTEMS = {"debian12": "bookworm", "debian13": "trixie"}
DISK = "16G"  # of which the computer gives what is used
MEMORY = "4G"
BOOT_SECONDS = 600
FROM_CONTAINERS = ("ssh/sshd_config.d/lab.conf", "sudoers.d/admin")
NETWORK = """[Match]
Name=eth0

[Network]
Address={address}/{prefix}
Gateway={gateway}
"""


def add(lab: Lab, name: str, system: str) -> Machine:
    """Create and start a machine, or start the one that exists; does not wait for its boot."""
    known = {machine.name: machine for machine in machines(lab)}
    if name not in known:
        deps.install(deps.OF_EMULATOR)
        address = free_address(lab, {machine.address for machine in known.values()})
        directory = lab.run / EMULATED / name
        directory.mkdir(parents=True)
        _write_disk(lab, name, address, _system(lab, system), directory)
        (directory / "machine.json").write_text(json.dumps({"name": name, "address": str(address)}))
    machine = find(lab, name)
    if machine.state != "running":
        _power_on(lab, machine)
    return find(lab, name)


def power_off(lab: Lab, machine: Machine) -> None:
    """As if somebody pulled the plug: what the machine's kernel has not written to its disk is lost."""
    with suppress(ProcessLookupError):
        os.kill(int(machine.container_id), signal.SIGKILL)
    wait_for(lambda: find(lab, machine.name).state != "running", f"{machine.name}: end of the emulator", 30)


def reboot(lab: Lab, machine: Machine) -> None:
    """By its own command, as an administrator does it."""
    before = _boot_id(lab, machine)
    with suppress(LabError):  # the connection ends before the answer
        run(ssh.command(lab, machine.name, "sudo systemctl reboot"))
    wait_for(lambda: _boot_id(lab, machine) not in ("", before), f"{machine.name}: another boot", BOOT_SECONDS)


def remove(lab: Lab, machine: Machine) -> None:
    power_off(lab, machine)
    shutil.rmtree(lab.run / EMULATED / machine.name)


def _boot_id(lab: Lab, machine: Machine) -> str:
    try:
        return output(ssh.command(lab, machine.name, "cat /proc/sys/kernel/random/boot_id"))
    except LabError:  # it is between two boots
        return ""


def _system(lab: Lab, system: str) -> Path:
    """The files of a machine before it has a name, unpacked."""
    tar, layer = rootfs.build(lab, _root(system)), golang.containerd_layer(lab)
    target = lab.dir / EMULATED / system

    def make() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for archive in (tar, layer):
            run(["tar", "--extract", "--numeric-owner", "--file", archive, "--directory", target])
        for name in FROM_CONTAINERS:
            (target / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SOURCE / "node" / "etc" / name, target / "etc" / name)
        (target / "etc/sudoers.d/admin").chmod(0o440)
        (target / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
        run(["chroot", target, "systemctl", "enable", "systemd-networkd.service", "ssh.service"])

    cached(target, digest(file_digest(tar), file_digest(layer)), make, f"files of a machine with {system}")
    return target


def _root(system: str) -> RootFileSystem:
    packages = (*rootfs.MACHINE.packages, "linux-image-cloud-amd64", "initramfs-tools", "zstd")
    return replace(rootfs.MACHINE, name=f"machine-{system}", suite=SYSTEMS[system], packages=packages)


def _write_disk(lab: Lab, name: str, address: IPv4Address, system: Path, directory: Path) -> None:
    tree, keys = directory / "tree", ssh.prepare(lab, address)
    run(["cp", "--archive", "--link", system, tree])
    files = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{address} {name}\n",
        "etc/resolv.conf": f"nameserver {lab.mirror_address}\n",
        "etc/systemd/network/10-lab.network": NETWORK.format(
            address=address, prefix=lab.subnet.prefixlen, gateway=lab.mirror_address
        ),
    }
    for path, text in files.items():
        (tree / path).unlink(missing_ok=True)  # it is a link to the file of all machines
        (tree / path).write_text(text)
    shutil.copytree(keys, tree / "etc/ssh/lab")
    run(["chown", "--recursive", "root:root", tree / "etc/ssh/lab"])
    for kind in ("vmlinuz", "initrd.img"):
        (file,) = (tree / "boot").glob(f"{kind}-*")
        shutil.copyfile(file, directory / kind)
    disk = directory / "disk"
    run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, DISK])
    shutil.rmtree(tree)


def _power_on(lab: Lab, machine: Machine) -> None:
    directory, port = lab.run / EMULATED / machine.name, network.add_port(lab, machine.name)
    address = IPv4Address(machine.address)
    command = [
        "qemu-system-x86_64",
        *("-name", machine.name, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY),
        *("-nodefaults", "-display", "none", "-serial", f"file:{directory / 'console'}"),
        *("-kernel", directory / "vmlinuz", "-initrd", directory / "initrd.img"),
        *("-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=10 quiet"),
        *("-drive", f"file={directory / 'disk'},if=virtio,format=raw"),
        *("-netdev", f"tap,id=lab,ifname={port},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=lab,mac={network.card(address)}"),
        *("-device", "virtio-rng-pci", "-daemonize", "-pidfile", directory / "pid"),
    ]
    run(network.inside(lab, network.ROUTER, *map(str, command)))
