"""A k3s on a machine, laid down as k3s's own install script does it: the "existing cluster at another cloud"."""

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
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
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
ExecStart=/usr/local/bin/k3s server
"""
REGISTRIES = """mirrors:
  docker.io:
    endpoint:
      - {mirror}
"""
KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
IMAGES = "/var/lib/rancher/k3s/agent/images"
DOWNLOADS = {
    release.BINARY: "/usr/local/bin/k3s",
    release.AIRGAP: f"{IMAGES}/{release.AIRGAP}",
    release.VCLUSTER: f"{IMAGES}/{release.VCLUSTER}",
}


def install(lab: Lab, machine: Machine, kubeconfig: Path) -> None:
    """Install k3s on a machine and fetch its administrator's kubeconfig; again only if the release changed."""
    files = lab.run / f"{machine.name}-files"
    checksums = (release.directory(lab) / release.CHECKSUMS).read_text()

    def make() -> None:
        _write_files(lab, files)
        podman(lab, "cp", f"{files}/.", f"{machine.container}:/")
        for name, target in DOWNLOADS.items():
            url = f"{lab.mirror_url}/releases/download/{quote(lab.version, safe='')}/{name}"
            # Beside and then over it: a program that runs cannot be written to.
            execute(lab, machine, "curl", "-sSf", "--create-dirs", "-o", f"{target}.new", url)
            execute(lab, machine, "chmod", "0755", f"{target}.new")
            execute(lab, machine, "mv", f"{target}.new", target)
        execute(lab, machine, "ln", "-sf", "k3s", "/usr/local/bin/kubectl")
        execute(lab, machine, "systemctl", "daemon-reload")
        execute(lab, machine, "systemctl", "enable", "--quiet", "k3s.service")
        execute(lab, machine, "systemctl", "restart", "k3s.service")

    key = digest(machine.container_id, checksums, SERVICE, REGISTRIES)
    cached(files, key, make, f"{machine.name}: k3s {lab.version}")
    with step(f"{machine.name}: node Ready and CoreDNS running"):
        wait_ready(lab, machine)
    write_kubeconfig(lab, machine, kubeconfig)


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
    """k3s writes the loopback address into its kubeconfig; put the machine's there, as an administrator would."""
    return kubeconfig.replace("https://127.0.0.1:6443", f"https://{address}:6443")


def _write_files(lab: Lab, root: Path) -> None:
    """The files of an installation as a tree to copy onto the machine."""
    shutil.rmtree(root, ignore_errors=True)
    files = {
        "etc/systemd/system/k3s.service": SERVICE,
        "etc/rancher/k3s/registries.yaml": REGISTRIES.format(mirror=lab.mirror_url),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
