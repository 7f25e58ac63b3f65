"""The lab's SSH: one key for the person, one host key per address, known before the machine exists."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

from .config import Lab
from .process import run, succeeds, wait_for

USER = "admin"
CONFIG_HEAD = """Host *
  User {user}
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  StrictHostKeyChecking yes
"""


def key(lab: Lab) -> Path:
    return lab.ssh / "id_ed25519"


def known_hosts(lab: Lab) -> Path:
    return lab.ssh / "known_hosts"


def config(lab: Lab) -> Path:
    """A client configuration (ssh -F) in which the machines have their names."""
    return lab.ssh / "config"


def prepare(lab: Lab, address: IPv4Address) -> Path:
    """The directory mounted into the machine of an address: its host key and who may log in."""
    directory = lab.ssh / "hosts" / str(address)
    directory.mkdir(parents=True, exist_ok=True)
    lab.ssh.chmod(0o700)
    _generate(key(lab), "lab")
    _generate(directory / "host_ed25519_key", str(address))
    (directory / "authorized_keys").write_text(key(lab).with_suffix(".pub").read_text())
    lines = sorted(known_host(path.parent.name, path.read_text()) for path in lab.ssh.glob("hosts/*/*.pub"))
    known_hosts(lab).write_text("".join(lines))
    return directory


def known_host(address: str, public_key: str) -> str:
    algorithm, value = public_key.split()[:2]
    return f"{address} {algorithm} {value}\n"


def write_config(lab: Lab, machines: Iterable[tuple[str, str]]) -> None:
    entries = "".join(f"Host {name}\n  HostName {address}\n" for name, address in machines)
    head = CONFIG_HEAD.format(user=USER, key=key(lab), known_hosts=known_hosts(lab))
    config(lab).write_text(entries + head)


def command(lab: Lab, name: str, *words: str, user: str = USER) -> list[str]:
    return ["ssh", "-F", str(config(lab)), "-l", user, name, *words]


def wait_ready(lab: Lab, name: str, address: str, seconds: float) -> None:
    """Wait until a machine accepts logins and has finished booting."""
    wait_for(lambda: _listens(address), f"{name}: SSH at {address} answers", seconds)
    wait_for(lambda: succeeds(command(lab, name, "true")), f"{name}: login by SSH", 30)
    # Whether every service of the machine is well is not the lab's to judge: tests break them on purpose.
    run(command(lab, name, "systemctl is-system-running --wait || true"))


def interactive(lab: Lab, name: str, words: list[str]) -> int:
    return subprocess.run(command(lab, name, *words, user="root"), check=False).returncode


def _generate(path: Path, comment: str) -> None:
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def _listens(address: str) -> bool:
    try:
        socket.create_connection((address, 22), timeout=1).close()
    except OSError:
        return False
    return True
