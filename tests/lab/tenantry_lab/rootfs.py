"""The Debian root file systems: that of a machine, and the small ones below the container images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .config import Lab
from .process import cached, digest, run

SUITE = "bookworm"

# What a k3s release carries inside its binary and the lab's k3s takes from the machine.
K3S_NEEDS = (
    "runc",
    "containernetworking-plugins",
    "iptables",
    "nftables",
    "conntrack",
    "iproute2",
    "mount",
)

NO_DOCUMENTATION = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
# The image is unpacked on every machine, so what no program in it runs is left out.
NOT_IN_IMAGE = (
    "/var/lib/apt",
    "/var/lib/dpkg/info",
    "/var/cache/*",
    "/var/log/*",
    # Every zone three times: the image of a k3s release has the first.
    "/usr/share/zoneinfo/posix",
    "/usr/share/zoneinfo/right",
    "/usr/lib/*/gconv",
    "/usr/share/perl*",
    "/usr/lib/*/perl*",
    "/usr/lib/*/libperl*",
    "/usr/bin/*perl*",
    "/usr/bin/openssl",
    # The lab's k3s uses host-local, loopback, portmap and ptp.
    "/usr/lib/cni/[b-g]*",
    "/usr/lib/cni/host-device",
    "/usr/lib/cni/[im]*",
    "/usr/lib/cni/[stv]*",
)
PYTHON = "python3.11"  # of SUITE
NOT_BESIDE_PYTHON = (
    "/bin/tar",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/usr/bin/dpkg*",
    "/usr/bin/update-alternatives",
    "/usr/sbin/*",
    "/usr/share/*",
    "/usr/lib/*/gconv",
    "/usr/lib/*/libdb-*",
    "/usr/lib/*/libsqlite3*",
    f"/usr/lib/{PYTHON}/pydoc_data",
    f"/usr/lib/{PYTHON}/test",
    "/var/lib/dpkg",
)


@dataclass(frozen=True)
class RootFileSystem:
    name: str
    variant: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...]
    suite: str = SUITE

    def path(self, lab: Lab) -> Path:
        return lab.dir / "rootfs" / f"{self.name}.tar"

    def arguments(self, target: Path, mirror: str, security: str) -> list[str]:
        # Where nothing is configured, there is no time for the other hook.
        hook_time = "extract" if self.variant == "extract" else "customize"
        return [
            "mmdebstrap",
            f"--variant={self.variant}",
            f"--include={','.join(self.packages)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCUMENTATION),
            *(f"--{hook_time}-hook={hook}" for hook in self.hooks),
            self.suite,
            str(target),
            f"deb {mirror} {self.suite} main",
            f"deb {mirror} {self.suite}-updates main",
            f"deb {security} {self.suite}-security main",
        ]


MACHINE = RootFileSystem(
    name="machine",
    variant="minbase",
    packages=(
        "systemd",
        "systemd-sysv",
        "dbus",
        "libpam-systemd",
        "openssh-server",
        "sudo",
        "python3",
        "ca-certificates",
        "curl",
        "kmod",
        "procps",
        *K3S_NEEDS,
    ),
    hooks=(
        # As on a cloud's Debian: no root login for people, one administrator who may use sudo.
        'chroot "$1" useradd --create-home --shell /bin/bash --groups sudo admin',
        'rm -f "$1"/etc/ssh/ssh_host_*',
        ': > "$1/etc/machine-id"',
    ),
)
K3S_IMAGE = RootFileSystem(
    name="k3s-image",
    variant="essential",
    packages=("ca-certificates", "tzdata", *K3S_NEEDS),
    hooks=tuple(f'rm -rf "$1"{pattern}' for pattern in NOT_IN_IMAGE),
)
# Unpacked only: nothing in it is ever configured, and there is no shell.
SYNCER_IMAGE = RootFileSystem(
    name="syncer-image",
    variant="extract",
    packages=(f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib"),
    hooks=(
        *(f'rm -rf "$1"{pattern}' for pattern in NOT_BESIDE_PYTHON),
        f'ln -s {PYTHON} "$1/usr/bin/python3"',
        # Without the times of the sources, which a layer does not keep.
        f'chroot "$1" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/{PYTHON}',
    ),
)
# Ansible runs modules by a shell, with the programs that Debian calls essential.
EXECUTION_ENVIRONMENT = RootFileSystem(
    name="execution-environment",
    variant="essential",
    packages=("ca-certificates", "python3"),
    hooks=tuple(f'rm -rf "$1"{pattern}' for pattern in NOT_IN_IMAGE if "perl" not in pattern),
)


def build(lab: Lab, root: RootFileSystem) -> Path:
    target = root.path(lab)
    mirror = os.environ.get("LAB_DEBIAN_MIRROR", "http://deb.debian.org/debian")
    security = os.environ.get("LAB_DEBIAN_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
    arguments = root.arguments(target, mirror, security)
    cached(target, digest(*root.arguments(Path("-"), "", "")), lambda: run(arguments), f"root file system {root.name}")
    return target
