"""etcd from its Go modules, in an image as its project publishes it: three programs and nothing else.

Only virtual clusters of three servers need it, so `lab build` makes it only when asked.
"""

from __future__ import annotations

from . import golang
from .config import SOURCE, Lab
from .golang import Program
from .images import Image, Layout, write_layer
from .process import cached, digest, file_digest

IMAGE = "docker.io/lab/etcd:3.6.16"
MODULE = "go.etcd.io/etcd"
PROGRAMS = {
    name: Program(name, SOURCE / "etcd", f"{MODULE}/{package}/v3")
    for name, package in (("etcd", "server"), ("etcdctl", "etcdctl"), ("etcdutl", "etcdutl"))
}


def build(lab: Lab) -> None:
    """Puts the image into the mirror's registry."""
    go = golang.toolchain(lab)
    for program in PROGRAMS.values():
        program.build(lab, go)
    files = {f"/usr/local/bin/{name}": lab.bin / name for name in PROGRAMS}
    layer = lab.dir / "etcd.tar"
    cached(layer, digest(*map(file_digest, files.values())), lambda: write_layer(layer, files), "image of etcd")
    Layout(lab.oci).add(Image(IMAGE, [layer], []))
