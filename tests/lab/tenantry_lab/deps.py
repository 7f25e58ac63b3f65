"""The Debian packages that the lab needs on this computer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from .config import LabError
from .process import run, say, step

PACKAGES = {
    "podman": "runs the machines",
    "runc": "starts their containers",
    "netavark": "podman does not start without a network backend, even where it sets up no network",
    "aardvark-dns": "podman does not start without it where netavark is",
    "mmdebstrap": "makes their root file systems",
    "iproute2": "their network",
    "util-linux": "network namespaces (nsenter, unshare)",
    "openssh-client": "reaches them",
    "gcc": "SQLite in the lab's k3s is C",
    "libc6-dev": "the same",
    "python3-venv": "for Go from PyPI where no Go is installed",
    "ca-certificates": "package registries are reached by TLS",
    "curl": "the demo fetches a page",
    "shellcheck": "one of the sanity tests",
    "iptables": "with nftables, how a test sees that the lab leaves the packet filter alone",
    "nftables": "the same",
    "postgresql": "a database for virtual clusters",
    "mariadb-server": "another one",
    "strace": "how a test sees that the datastore waits for the disk",
}
# Only for machines with a kernel of their own, when the first of them is asked for.
OF_EMULATOR = {"qemu-system-x86": "runs machines with a kernel of their own", "e2fsprogs": "makes their disks"}


def missing(wanted: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def install(wanted: Mapping[str, str]) -> None:
    if not shutil.which("apt-get"):
        raise LabError("no apt-get here. Install by hand what Debian calls: " + " ".join(wanted))
    packages = missing(wanted)
    if not packages:
        say("all packages are installed")
        return
    for package in packages:
        say(f"to install: {package} ({wanted[package]})")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    with step("apt-get install"):
        run([*sudo, "apt-get", "update"])
        run(
            [
                *sudo,
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "--yes",
                "--no-install-recommends",
                *packages,
            ]
        )
