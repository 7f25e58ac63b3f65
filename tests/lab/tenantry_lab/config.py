"""Where the lab keeps its files, and the addresses and names it uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
PROJECT = SOURCE.parents[1]

# The lab's own builds of k3s and the Go modules of each, newest first: the one it runs, and those for upgrades.
BUILDS = {
    "v1.37.2+lab1": "go.mod",
    "v1.36.3+lab1": "go-1.36.mod",
    "v1.35.4+lab1": "go-1.35.mod",
    "v1.34.4+lab1": "go-1.34.mod",
}
BUILT_VERSION, OLDER_VERSION, *_ = BUILDS
RELEASE_PATTERN = re.compile(r"v\d+\.\d+\.\d+\+(k3s|lab)\d+")
# An interface is named m-NAME, and Linux allows 15 characters for that.
NODE_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,11}[a-z0-9]")

FIXED_HOSTS = {"hub": 11, "edge": 12}
EXTRA_HOSTS = range(21, 250)
MIRROR_PORT = 8213


class LabError(Exception):
    """Something the person at the keyboard has to know; shown as one line."""


@dataclass(frozen=True)
class Lab:
    dir: Path
    subnet: IPv4Network
    version: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Lab:
        version = environment.get("K3S_RELEASE") or BUILT_VERSION
        if not RELEASE_PATTERN.fullmatch(version):
            raise LabError(f"K3S_RELEASE={version}: not a k3s release. Write it like v1.37.2+k3s1")
        return cls(
            dir=Path(environment.get("LAB_DIR") or PROJECT / "build" / "lab").resolve(),
            subnet=_subnet(environment.get("LAB_SUBNET") or "10.213.0.0/24"),
            version=version,
        )

    @property
    def is_release(self) -> bool:
        return self.version not in BUILDS

    @property
    def mirror_address(self) -> IPv4Address:
        return self.subnet[1]

    @property
    def mirror_url(self) -> str:
        return f"http://{self.mirror_address}:{MIRROR_PORT}"

    @property
    def host_address(self) -> IPv4Address:
        return self.subnet[254]

    @property
    def interface(self) -> str:
        """The one interface the lab adds to this computer, named after its subnet."""
        return "lab-" + "-".join(str(self.subnet.network_address).split(".")[:3])

    @property
    def bin(self) -> Path:
        return self.dir / "bin"

    @property
    def oci(self) -> Path:
        return self.dir / "oci"

    @property
    def releases(self) -> Path:
        return self.dir / "mirror" / "releases" / "download"

    @property
    def ssh(self) -> Path:
        return self.dir / "ssh"

    @property
    def storage(self) -> Path:
        return self.dir / "storage"

    @property
    def run(self) -> Path:
        """State of what runs now; worthless after a reboot."""
        return self.dir / "run"


def _subnet(text: str) -> IPv4Network:
    try:
        subnet = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise LabError(f"LAB_SUBNET={text}: {error}") from None
    if subnet.prefixlen != 24:
        raise LabError(f"LAB_SUBNET={text}: must be a /24, like 10.213.0.0/24")
    return subnet


def check_node_name(name: str) -> str:
    if not NODE_PATTERN.fullmatch(name):
        raise LabError(f"node name {name!r}: 2 to 13 of a-z, 0-9 and -, starting with a letter, not ending with -")
    return name
