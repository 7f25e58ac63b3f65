"""The minor release before the lab's own, for upgrades between two builds: its source, with that Kubernetes' modules.

It takes minutes of both processors, so `lab build` makes it only when asked.
"""

from __future__ import annotations

from . import golang, release, rootfs
from .config import OLDER_VERSION, Lab
from .golang import K3S_SOURCE, Program, version_flags
from .images import Layout, write_layer
from .process import cached, file_digest

K3S = Program(
    "k3s-older",
    K3S_SOURCE,
    "./cmd/k3s",
    cgo=True,
    flags=version_flags(OLDER_VERSION),
    options=("-modfile=go-older.mod", "-tags=older"),
)


def build(lab: Lab) -> None:
    """Puts the image into the mirror's registry."""
    K3S.build(lab, golang.toolchain(lab))
    program, layer = lab.bin / K3S.name, lab.dir / "older.tar"
    cached(
        layer,
        file_digest(program),
        lambda: write_layer(layer, {"/usr/bin/k3s": program}, {"/usr/bin/kubectl": "k3s"}),
        f"image of {OLDER_VERSION}",
    )
    Layout(lab.oci).add(release.k3s_image(OLDER_VERSION, rootfs.build(lab, rootfs.K3S_IMAGE), layer))
