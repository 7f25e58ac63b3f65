"""The lab's network: a bridge in a network namespace of its own.

This computer gets one interface with one address on it, and no bridge, no packet filter rule and no forwarding, so
neither side can disturb the other. The namespace with the bridge has the gateway's address and runs the mirror;
each machine has a namespace too, made before the machine starts, so that it boots with its network up.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

from .config import Lab, LabError
from .process import output, run, succeeds

BRIDGE = "lab"
ROUTER = "router"


def namespace(lab: Lab, name: str) -> Path:
    return lab.run / "netns" / name


def inside(lab: Lab, name: str, *arguments: str) -> list[str]:
    """A command line that runs in one of the lab's network namespaces."""
    return ["nsenter", f"--net={namespace(lab, name)}", *arguments]


def exists(lab: Lab, name: str) -> bool:
    path = namespace(lab, name)
    return path.exists() and output(["stat", "--file-system", "--format=%T", path]).strip() == "nsfs"


def up(lab: Lab) -> None:
    if exists(lab, ROUTER) and _alias(lab) == str(lab.dir):
        return
    _refuse_conflict(lab)
    _create_namespace(lab, ROUTER)
    router = namespace(lab, ROUTER)
    run(inside(lab, ROUTER, "ip", "link", "add", BRIDGE, "type", "bridge"))
    run(inside(lab, ROUTER, "ip", "address", "add", f"{lab.mirror_address}/{lab.subnet.prefixlen}", "dev", BRIDGE))
    run(inside(lab, ROUTER, "ip", "link", "set", BRIDGE, "up"))
    run(["ip", "link", "add", lab.interface, "type", "veth", "peer", "name", "computer", "netns", router])
    run(inside(lab, ROUTER, "ip", "link", "set", "computer", "master", BRIDGE, "up"))
    run(["ip", "address", "add", f"{lab.host_address}/{lab.subnet.prefixlen}", "dev", lab.interface])
    run(["ip", "link", "set", lab.interface, "up"])
    # Last, so that it also says that the network is complete.
    run(["ip", "link", "set", lab.interface, "alias", str(lab.dir)])


def add_machine(lab: Lab, name: str, address: IPv4Address) -> None:
    """A namespace for a machine, with eth0 in it as a cloud's DHCP would have set it up."""
    remove_machine(lab, name)
    _create_namespace(lab, name)
    peer = _peer(name)
    run(inside(lab, ROUTER, "ip", "link", "add", peer, "type", "veth", "peer", "eth0", "netns", namespace(lab, name)))
    run(inside(lab, ROUTER, "ip", "link", "set", peer, "master", BRIDGE, "up"))
    # The same card after every reboot, or the neighbours' caches keep the machine unreachable for half a minute.
    run(inside(lab, name, "ip", "link", "set", "eth0", "address", card(address)))
    run(inside(lab, name, "ip", "address", "add", f"{address}/{lab.subnet.prefixlen}", "dev", "eth0"))
    run(inside(lab, name, "ip", "link", "set", "eth0", "up"))
    run(inside(lab, name, "ip", "route", "add", "default", "via", str(lab.mirror_address)))


def add_port(lab: Lab, name: str) -> str:
    """A port on the bridge for a machine that an emulator runs in the router's namespace, as a new one: its name."""
    port = _peer(name)
    if succeeds(inside(lab, ROUTER, "ip", "link", "show", port)):
        run(inside(lab, ROUTER, "ip", "link", "delete", port))
    run(inside(lab, ROUTER, "ip", "tuntap", "add", port, "mode", "tap"))
    run(inside(lab, ROUTER, "ip", "link", "set", port, "master", BRIDGE, "up"))
    return port


def card(address: IPv4Address) -> str:
    """The hardware address of a machine's network card, made of its IP address."""
    return "02:00:" + address.packed.hex(":")


def remove_machine(lab: Lab, name: str) -> None:
    """Remove a machine's namespace, and with it every interface and rule in it."""
    # At once: the kernel takes its time with the rest of a namespace.
    if exists(lab, ROUTER) and succeeds(inside(lab, ROUTER, "ip", "link", "show", _peer(name))):
        run(inside(lab, ROUTER, "ip", "link", "delete", _peer(name)))
    _remove_namespace(lab, name)


def down(lab: Lab) -> None:
    if _alias(lab) in ("", str(lab.dir)):
        run(["ip", "link", "delete", lab.interface])
    for path in (lab.run / "netns").glob("*"):
        _remove_namespace(lab, path.name)


def _peer(name: str) -> str:
    """A machine's port on the bridge."""
    return f"m-{name}"


def _remove_namespace(lab: Lab, name: str) -> None:
    path = namespace(lab, name)
    if exists(lab, name):
        run(["umount", path])
    path.unlink(missing_ok=True)


def _create_namespace(lab: Lab, name: str) -> None:
    _remove_namespace(lab, name)
    path = namespace(lab, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    # Not `ip netns`: that would leave a mount at /run/netns behind.
    run(["unshare", f"--net={path}", "ip", "link", "set", "lo", "up"])


def _alias(lab: Lab) -> str | None:
    """The lab whose interface it is; empty if it was left half made, None where there is none."""
    if not succeeds(["ip", "link", "show", lab.interface]):
        return None
    return json.loads(output(["ip", "-json", "link", "show", lab.interface]))[0].get("ifalias", "")


def _refuse_conflict(lab: Lab) -> None:
    alias = _alias(lab)
    if alias in ("", str(lab.dir)):
        run(["ip", "link", "delete", lab.interface])
    elif alias is not None:
        raise LabError(f"{lab.subnet} is used by the lab in {alias}. Use that one down, or set LAB_SUBNET")
    for route in json.loads(output(["ip", "-json", "route", "show", "root", str(lab.subnet)])):
        raise LabError(f"{lab.subnet} is routed to {route['dev']} on this computer. Set LAB_SUBNET to a free /24")
