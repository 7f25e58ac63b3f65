"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from . import (
    cluster,
    computer,
    deps,
    emulator,
    etcd,
    execution_environment,
    golang,
    ingress,
    machines,
    network,
    other_k3s,
    passthrough,
    release,
    rootfs,
    service,
    ssh,
    syncer,
)
from .config import BUILDS, FIXED_HOSTS, PROJECT, Lab, LabError, check_node_name
from .process import exclusive, say, step

DESCRIPTION = """Real machines and a real Kubernetes on this computer, for the demo and the tests: `hub`, an empty
host, and `edge`, a running k3s. Settings from the environment: LAB_DIR (where everything is kept, default build/lab),
LAB_SUBNET (default 10.213.0.0/24), K3S_RELEASE (another of the lab's own builds, such as
v1.36.3+lab1, or a published release such as v1.37.2+k3s1), LAB_DEBIAN_MIRROR and LAB_DEBIAN_SECURITY_MIRROR, and what
Go and pip know."""

Action = Callable[[Lab, argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    try:
        lab = Lab.from_environment(os.environ)
        if arguments.action is _deps:
            return _deps(lab, arguments)
        computer.require_root(os.geteuid())
        computer.forget_before_reboot(lab)
        with nullcontext() if arguments.action in (_ssh, _status) else exclusive(lab.dir):
            return arguments.action(lab, arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lab: interrupted. Run the same command again to go on", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: Action, text: str, into: argparse.Action = commands) -> argparse.ArgumentParser:
        sub = into.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        return sub

    command("deps", _deps, "install the Debian packages that are missing")
    build = command("build", _build, "build programs, root file systems, images and the mirror's content")
    build.add_argument("--ingress", action="store_true", help="an ingress controller's image too (minutes)")
    build.add_argument("--etcd", action="store_true", help="the image of etcd too, for three servers (a minute)")
    build.add_argument("--reconciler", action="store_true", help="its image, an execution environment, too (a minute)")
    build.add_argument("--passthrough", action="store_true", help="one that passes TLS through too (minutes)")
    build.add_argument(
        "--k3s", action="append", default=[], choices=BUILDS, metavar="VERSION",
        help=f"another build of k3s too, for upgrades (minutes): {', '.join(BUILDS)}",
    )  # fmt: skip
    up = command("up", _up, "start the network, the mirror and the machines")
    up.add_argument("--nodes", default=",".join(FIXED_HOSTS), metavar="NAMES", help="default: %(default)s")
    up.add_argument(
        "--edge-kubeconfig", type=Path, default=PROJECT / "build" / "demo" / "edge.yaml", metavar="FILE",
        help="where the kubeconfig of edge goes (default: build/demo/edge.yaml)",
    )  # fmt: skip
    command("down", _down, "remove every machine and all that `up` set up")
    command("status", _status, "what runs")
    login = command("ssh", _ssh, "log in to a machine as root, or run a command there")
    login.add_argument("node", metavar="NODE")
    login.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    node = commands.add_parser("node", help="further machines, for tests").add_subparsers(required=True)
    for name, action, text in (
        ("add", _node_add, "start an empty machine and print how to reach it, as JSON"),
        ("rm", _node_rm, "remove a machine; none of that name is fine"),
        ("reboot", _node_reboot, "power a machine off and on again"),
        ("off", _node_off, "power a machine off; `node add` powers it on"),
    ):
        one = command(name, action, text, into=node)
        one.add_argument("name", metavar="NAME")
        if action is _node_add:
            one.add_argument("--emulated", choices=emulator.SYSTEMS, help="with a kernel of its own, and this system")
            one.add_argument("--join", metavar="NODE", help="as a further node of the k3s on that machine")
    return parser


def _deps(_lab: Lab, _arguments: argparse.Namespace) -> int:
    deps.install(deps.PACKAGES)
    return 0


def _build(lab: Lab, arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        # Debian's packages come over the network while Go has the processors.
        machine = pool.submit(rootfs.build, lab, rootfs.MACHINE)
        image = pool.submit(rootfs.build, lab, rootfs.K3S_IMAGE)
        python = pool.submit(rootfs.build, lab, rootfs.SYNCER_IMAGE)
        go = golang.toolchain(lab)
        golang.k3s(lab.version).build(lab, go)
        containerd = golang.containerd_layer(lab)
        for program in golang.OTHERS:
            program.build(lab, go)
        machines.build_image(lab, machine.result(), containerd)
        release.build(lab, [image.result(), containerd], syncer.build(lab, python.result()))
    if arguments.ingress:
        ingress.build(lab)
    if arguments.etcd:
        etcd.build(lab)
    if arguments.reconciler:
        execution_environment.build(lab)
    if arguments.passthrough:
        passthrough.build(lab)
    for version in arguments.k3s:
        other_k3s.build(lab, version)
    say(f"built: {time.monotonic() - start:.1f} s")
    return 0


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    names = [check_node_name(name) for name in arguments.nodes.split(",")]
    if unknown := sorted(set(names) - set(FIXED_HOSTS)):
        raise LabError(f"--nodes: no machine {unknown[0]!r}; known are hub and edge, others come by: lab node add")
    _start_ground(lab)
    for name in names:
        machines.add(lab, name)
    for name in names:
        machines.wait_ready(lab, machines.find(lab, name))
    if "edge" in names:
        cluster.install(lab, machines.find(lab, "edge"), arguments.edge_kubeconfig)
    return _status(lab, arguments)


def _start_ground(lab: Lab) -> None:
    if not release.directory(lab).is_dir():
        raise LabError(f"release {lab.version} is not built. Run: tests/lab/lab build")
    machines.build_image(lab, rootfs.MACHINE.path(lab), lab.bin / golang.CONTAINERD_LAYER)
    computer.prepare_sysctls(lab)
    network.up(lab)
    service.start(lab)


def _down(lab: Lab, _arguments: argparse.Namespace) -> int:
    with step("down"):
        for machine in machines.machines(lab):
            if machine.emulated:
                emulator.remove(lab, machine)
        machines.remove_all(lab)
        service.stop(lab)
        network.down(lab)
        computer.unmount_storage(lab)
        computer.remove_cgroups(lab)
        computer.restore_sysctls(lab)
        computer.forget(lab)
    return 0


def _status(lab: Lab, _arguments: argparse.Namespace) -> int:
    rows = [("MACHINE", "ADDRESS", "STATE", "K3S")]
    for machine in machines.machines(lab):
        rows.append((machine.name, machine.address, machine.state, cluster.version(lab, machine)))
    for name, address, state, version in rows:
        print(f"{name:<16}{address:<17}{state:<12}{version}")
    print(f"mirror          {lab.mirror_url}  {'running' if service.is_running(lab) else 'stopped'}, {lab.version}")
    return 0


def _ssh(lab: Lab, arguments: argparse.Namespace) -> int:
    return ssh.interactive(lab, machines.find(lab, arguments.node).name, arguments.words)


def _node_add(lab: Lab, arguments: argparse.Namespace) -> int:
    name = check_node_name(arguments.name)
    if name in FIXED_HOSTS:
        raise LabError(f"{name} is made by: tests/lab/lab up --nodes {name}")
    _start_ground(lab)
    known = {one.name: one.emulated for one in machines.machines(lab)}
    if arguments.emulated or known.get(name):
        machine = emulator.add(lab, name, arguments.emulated)
        machines.wait_ready(lab, machine, emulator.BOOT_SECONDS)
    else:
        machine = machines.add(lab, name)
        machines.wait_ready(lab, machine)
    if arguments.join:
        cluster.join(lab, machine, machines.find(lab, arguments.join))
    print(json.dumps({
        "name": machine.name,
        "address": machine.address,
        "user": ssh.USER,
        "key": str(ssh.key(lab)),
        "known_hosts": str(ssh.known_hosts(lab)),
        "ssh_config": str(ssh.config(lab)),
    }))  # fmt: skip
    return 0


def _node_rm(lab: Lab, arguments: argparse.Namespace) -> int:
    if any(machine.name == arguments.name for machine in machines.machines(lab)):
        machine = machines.find(lab, arguments.name)
        _kind(machine).remove(lab, machine)
    else:
        say(f"no machine {arguments.name}")
    return 0


def _node_reboot(lab: Lab, arguments: argparse.Namespace) -> int:
    machine = machines.find(lab, arguments.name)
    _kind(machine).reboot(lab, machine)
    machines.wait_ready(lab, machine, emulator.BOOT_SECONDS if machine.emulated else machines.BOOT_SECONDS)
    return 0


def _node_off(lab: Lab, arguments: argparse.Namespace) -> int:
    machine = machines.find(lab, arguments.name)
    _kind(machine).power_off(lab, machine)
    return 0


def _kind(machine: machines.Machine) -> ModuleType:
    """What makes and ends such a machine."""
    return emulator if machine.emulated else machines
