"""The k3s release that the mirror offers: built from source, or fetched from where k3s is published."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from .config import Lab, LabError
from .images import Image, Layout, write_layer
from .process import cached, digest, file_digest, step

BINARY = "k3s"
AIRGAP = "k3s-airgap-images-amd64.tar"
VCLUSTER = "k3s-vcluster-images-amd64.tar"
CHECKSUMS = "sha256sum-amd64.txt"

PAUSE_IMAGE = "docker.io/rancher/mirrored-pause:3.6"
COREDNS_IMAGE = "docker.io/rancher/mirrored-coredns-coredns:1.12.3"
METRICS_IMAGE = "docker.io/rancher/mirrored-metrics-server:v0.9.0"
WEB_IMAGE = "docker.io/lab/web:1"

# The entry point, volumes and paths of package/Dockerfile in the k3s repository.
K3S_PATH = "PATH=/var/lib/rancher/k3s/data/cni:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bin/aux"
K3S_ENVIRONMENT = (K3S_PATH, "CRI_CONFIG_FILE=/var/lib/rancher/k3s/agent/etc/crictl.yaml")
K3S_VOLUMES = ("/var/lib/kubelet", "/var/lib/rancher/k3s", "/var/lib/cni", "/var/log")


def k3s_image(version: str, *layers: Path) -> Image:
    """Its tag is the version, but for the plus sign, which a tag may not contain."""
    name = f"docker.io/rancher/k3s:{version.replace('+', '-')}"
    return Image(name, layers, ["/bin/k3s"], ["agent"], K3S_ENVIRONMENT, K3S_VOLUMES)


def write_k3s_layer(target: Path, k3s: Path) -> None:
    write_layer(target, {"/usr/bin/k3s": k3s}, {"/usr/bin/kubectl": "k3s"})


def directory(lab: Lab) -> Path:
    return lab.releases / lab.version


def build(lab: Lab, below_k3s: Sequence[Path], syncer: Image) -> None:
    """Images, archives of them and checksums, from the programs in `lab.bin` and the layers below k3s."""
    programs = [lab.bin / name for name in ("k3s", "pause", "coredns", "metrics-server", "web")]
    if lab.is_release:
        fetch(lab)
        programs[0] = fetched(lab) / BINARY
    files = (*programs, *below_k3s, *syncer.layers)
    key = digest(lab.version, syncer.name, *syncer.environment, *(file_digest(path) for path in files))

    def make() -> None:
        layout = Layout(lab.oci)
        layout.reset()
        k3s, *others = _images(lab, *programs, below_k3s=below_k3s)
        for image in (k3s, *others, syncer):
            layout.add(image)
        write(lab, layout, programs[0], [k3s.name, syncer.name])

    cached(directory(lab), key, make, f"images and release {lab.version}")


def _images(
    lab: Lab, k3s: Path, pause: Path, coredns: Path, metrics: Path, web: Path, *, below_k3s: Sequence[Path]
) -> list[Image]:
    layers = lab.dir / "layers"
    shutil.rmtree(layers, ignore_errors=True)
    layers.mkdir(parents=True)
    write_k3s_layer(layers / "k3s.tar", k3s)
    write_layer(layers / "pause.tar", {"/pause": pause})
    write_layer(layers / "coredns.tar", {"/coredns": coredns})
    write_layer(layers / "metrics-server.tar", {"/metrics-server": metrics})
    write_layer(layers / "web.tar", {"/web": web})
    return [
        k3s_image(lab.version, *below_k3s, layers / "k3s.tar"),
        Image(PAUSE_IMAGE, [layers / "pause.tar"], ["/pause"]),
        Image(COREDNS_IMAGE, [layers / "coredns.tar"], ["/coredns"]),
        Image(METRICS_IMAGE, [layers / "metrics-server.tar"], ["/metrics-server"]),
        Image(WEB_IMAGE, [layers / "web.tar"], ["/web"]),
    ]


def write(lab: Lab, layout: Layout, k3s: Path, of_vclusters: Sequence[str]) -> None:
    """What the mirror offers below the name of a release."""
    target = directory(lab)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    os.link(k3s, target / BINARY)
    if lab.is_release:
        os.link(fetched(lab) / AIRGAP, target / AIRGAP)
    else:
        layout.export(target / AIRGAP, [PAUSE_IMAGE, COREDNS_IMAGE, METRICS_IMAGE])
    layout.export(target / VCLUSTER, of_vclusters)
    lines = [checksum_line(file_digest(target / name), name) for name in (BINARY, AIRGAP, VCLUSTER)]
    (target / CHECKSUMS).write_text("".join(lines))


def checksum_line(value: str, name: str) -> str:
    return f"{value}  {name}\n"


def read_checksums(text: str) -> dict[str, str]:
    return {name.lstrip("*"): value for value, name in (line.split() for line in text.splitlines() if line.strip())}


def fetched(lab: Lab) -> Path:
    return lab.dir / "fetched" / lab.version


def fetch(lab: Lab) -> None:
    """Download a published release once and verify it. Tested with a page laid out as k3s's, not with that page."""
    target = fetched(lab)
    if target.is_dir():
        return
    base = os.environ.get("K3S_RELEASE_URL", "https://github.com/k3s-io/k3s/releases/download")
    partial = target.with_name(f"{lab.version}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name in (CHECKSUMS, BINARY, AIRGAP):
        with step(f"download {name} of {lab.version}"):
            _download(f"{base}/{quote(lab.version, safe='')}/{name}", partial / name)
    expected = read_checksums((partial / CHECKSUMS).read_text())
    for name in (BINARY, AIRGAP):
        if file_digest(partial / name) != expected.get(name):
            raise LabError(f"{partial / name}: does not have the checksum that {CHECKSUMS} of {lab.version} gives")
    partial.rename(target)


def _download(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as stream:
            shutil.copyfileobj(answer, stream)
    except urllib.error.URLError as error:
        raise LabError(f"{url}: {error.reason}") from None
