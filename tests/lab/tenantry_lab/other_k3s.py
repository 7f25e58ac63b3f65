"""Another of the lab's own builds beside the one it runs: the same source with the modules of that Kubernetes.

For upgrades from one to the next. It takes minutes of both processors, so `lab build` makes it only when asked.
"""

from __future__ import annotations

from dataclasses import replace

from . import golang, release, rootfs, syncer
from .config import Lab
from .images import Layout
from .process import cached, digest, file_digest


def build(lab: Lab, version: str) -> None:
    """Puts the image into the mirror's registry, and the release with its checksums beside the lab's own."""
    other, program = replace(lab, version=version), golang.k3s(version, name=f"k3s-{version}")
    program.build(lab, golang.toolchain(lab))
    binary, layer, layout = lab.bin / program.name, lab.dir / f"{program.name}.tar", Layout(lab.oci)
    key = file_digest(binary)
    cached(layer, key, lambda: release.write_k3s_layer(layer, binary), f"image of {version}")
    image = release.k3s_image(version, rootfs.build(lab, rootfs.K3S_IMAGE), golang.containerd_layer(lab), layer)
    layout.add(image)
    others = (release.directory(lab) / release.CHECKSUMS).read_bytes()
    images = [image.name, syncer.image_name()]
    cached(
        release.directory(other),
        digest(key, others),
        lambda: release.write(other, layout, binary, images),
        f"release {version}",
    )
