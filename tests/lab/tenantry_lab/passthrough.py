"""An ingress controller that passes TLS through by the name asked for: Traefik, from its Go module.

It takes five minutes of both processors, so `lab build` makes it only when asked.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from . import golang
from .config import SOURCE, Lab
from .golang import Program
from .images import Image, Layout, write_layer
from .process import cached, digest, file_digest, output, tree_digest

IMAGE = "docker.io/lab/traefik:1"
TRAEFIK = SOURCE / "traefik"
LEGO = "github.com/go-acme/lego/v5"


def build(lab: Lab) -> None:
    """Puts the image into the mirror's registry."""
    go = golang.toolchain(lab)
    Program("traefik", _module(lab, go), "github.com/traefik/traefik/v3/cmd/traefik").build(lab, go)
    program, layer = lab.bin / "traefik", lab.dir / "traefik" / "program.tar"
    cached(layer, file_digest(program), lambda: write_layer(layer, {"/bin/traefik": program}), "image of Traefik")
    Layout(lab.oci).add(Image(IMAGE, [layer], ["/bin/traefik"]))


def _module(lab: Lab, go: str) -> Path:
    """Ours beside lego, its library for ACME, of which some clients of DNS services cannot be had."""
    target = lab.dir / "traefik" / "module"
    version = re.search(rf"{LEGO} (v\S+)", (TRAEFIK / "go.mod").read_text())[1]

    def make() -> None:
        shutil.rmtree(target, ignore_errors=True)
        lego = json.loads(output([go, "mod", "download", "-json", f"{LEGO}@{version}"], cwd=lab.dir))["Dir"]
        shutil.copytree(lego, target / "lego", ignore=shutil.ignore_patterns("providers"))
        shutil.copytree(TRAEFIK, target, dirs_exist_ok=True)

    cached(target, digest(tree_digest(TRAEFIK)), make, "Go source of Traefik")
    return target
