"""A k3s on a machine, laid down as k3s's own install script does it: "existing clusters", and further nodes of one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

from . import release
from .config import Lab, LabError
from .machines import Machine, execute
from .podman import podman
from .process import cached, digest, step

SERVICE = """[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type={type}
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/%N.service.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStart=/usr/local/bin/k3s {command}
"""
REGISTRIES = """mirrors:
  docker.io:
    endpoint:
      - {mirror}
"""
KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
DATA = "/var/lib/rancher/k3s"
IMAGES = f"{DATA}/agent/images"
DOWNLOADS = {
    release.BINARY: "/usr/local/bin/k3s",
    release.AIRGAP: f"{IMAGES}/{release.AIRGAP}",
    release.VCLUSTER: f"{IMAGES}/{release.VCLUSTER}",
}


def install(lab: Lab, machine: Machine, kubeconfig: Path) -> None:
    """Install k3s on a machine and fetch its administrator's kubeconfig; again only if the release changed."""
    _install(lab, machine, "k3s", SERVICE.format(type="notify", command="server"), {})
    with step(f"{machine.name}: node Ready and CoreDNS running"):
        wait_ready(lab, machine)
    write_kubeconfig(lab, machine, kubeconfig)


def join(lab: Lab, machine: Machine, server: Machine) -> None:
    """Make a machine a further node of the cluster on another, which has the same release."""
    token = execute(lab, server, "cat", f"{DATA}/server/node-token").strip()
    config = {"config.yaml": f"server: https://{server.address}:6443\ntoken: {token}\n"}
    _install(lab, machine, "k3s-agent", SERVICE.format(type="exec", command="agent"), config)
    with step(f"{machine.name}: node of {server.name} Ready"):
        for state in ("create", "condition=Ready"):
            kubectl(lab, server, "wait", f"node/{machine.name}", f"--for={state}", "--timeout=120s")


def _install(lab: Lab, machine: Machine, unit: str, service: str, config: dict[str, str]) -> None:
    files = lab.run / f"{machine.name}-files"
    checksums = (release.directory(lab) / release.CHECKSUMS).read_text()

    def make() -> None:
        _write_files(files, unit, service, {"registries.yaml": REGISTRIES.format(mirror=lab.mirror_url), **config})
        podman(lab, "cp", f"{files}/.", f"{machine.container}:/")
        for name, target in DOWNLOADS.items():
            url = f"{lab.mirror_url}/releases/download/{quote(lab.version, safe='')}/{name}"
            # Beside and then over it: a program that runs cannot be written to.
            execute(lab, machine, "curl", "-sSf", "--create-dirs", "-o", f"{target}.new", url)
            execute(lab, machine, "chmod", "0755", f"{target}.new")
            execute(lab, machine, "mv", f"{target}.new", target)
        execute(lab, machine, "ln", "-sf", "k3s", "/usr/local/bin/kubectl")
        execute(lab, machine, "systemctl", "daemon-reload")
        execute(lab, machine, "systemctl", "enable", "--quiet", f"{unit}.service")
        execute(lab, machine, "systemctl", "restart", f"{unit}.service")

    key = digest(machine.container_id, checksums, service, REGISTRIES, *config.values())
    cached(files, key, make, f"{machine.name}: k3s {lab.version}")


def wait_ready(lab: Lab, machine: Machine) -> None:
    # The deployment's condition Available holds without a pod as well, since one may be unavailable.
    for thing, state in (
        (f"node/{machine.name}", "condition=Ready"),
        ("deployment/coredns", "jsonpath={.status.readyReplicas}=1"),
    ):
        # Asked for only once it exists: kubectl does not wait for the condition of what is not there yet.
        for wanted in ("create", state):
            kubectl(lab, machine, "--namespace=kube-system", "wait", thing, f"--for={wanted}", "--timeout=120s")


def kubectl(lab: Lab, machine: Machine, *words: str) -> str:
    return execute(lab, machine, "k3s", "kubectl", "--kubeconfig", KUBECONFIG, *words)


def version(lab: Lab, machine: Machine) -> str:
    """What `k3s --version` says on a machine; a dash where there is none."""
    if machine.state != "running":
        return "-"
    try:
        words = execute(lab, machine, "k3s", "--version").split()
    except LabError:
        return "-"
    return words[2]


def write_kubeconfig(lab: Lab, machine: Machine, target: Path) -> None:
    text = execute(lab, machine, "cat", KUBECONFIG)
    target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(reachable(text, machine.address))


def reachable(kubeconfig: str, address: str) -> str:
    """k3s writes the loopback address into its kubeconfig. Put the machine's there, as an administrator would."""
    return kubeconfig.replace("https://127.0.0.1:6443", f"https://{address}:6443")


def _write_files(root: Path, unit: str, service: str, config: dict[str, str]) -> None:
    """The files of an installation as a tree to copy onto the machine."""
    shutil.rmtree(root, ignore_errors=True)
    files = {f"etc/systemd/system/{unit}.service": service}
    files |= {f"etc/rancher/k3s/{name}": text for name, text in config.items()}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch(mode=0o600)
        (root / name).write_text(text)
