"""The image of an execution environment, for the reconciler: Debian's Python, Ansible, libraries, the collection.

What ansible-builder makes of `execution-environment/` has the same Python requirements, and the collection at the same
place. Only the tests of the reconciler's pod need it, so `lab build` makes it only when asked.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from . import rootfs
from .config import PROJECT, Lab
from .images import Image, Layout, write_tree
from .process import cached, digest, run, tree_digest
from .rootfs import PYTHON

IMAGE = "docker.io/lab/execution-environment:1"
ANSIBLE = "ansible-core>=2.19,<2.20"  # the newest for this Python
REQUIREMENTS = (PROJECT / "requirements.txt", PROJECT / "requirements.lock")
LIBRARIES = f"usr/local/lib/{PYTHON}/dist-packages"
COLLECTION = "usr/share/ansible/collections/ansible_collections/tenantry/kube"
PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")


def build(lab: Lab) -> None:
    """Put the image into the mirror's registry."""
    base = rootfs.build(lab, rootfs.EXECUTION_ENVIRONMENT)
    directory = lab.dir / "execution-environment"
    libraries, code = directory / "libraries.tar", directory / "code.tar"
    key = digest(ANSIBLE, *(path.read_bytes() for path in REQUIREMENTS))
    cached(libraries, key, lambda: _write_libraries(directory, libraries), "libraries of the execution environment")
    code_key = digest(*(tree_digest(PROJECT / part) for part in PARTS if (PROJECT / part).is_dir()))
    cached(code, code_key, lambda: _write_code(directory, code), "collection of the execution environment")
    environment = ("PATH=/usr/bin:/bin", "LANG=C.UTF-8")
    layers = [base, libraries, code]
    Layout(lab.oci).add(Image(IMAGE, layers, ["python3"], environment=environment, user="65532"))


def _write_libraries(directory: Path, target: Path) -> None:
    root, environment = directory / "libraries", directory / "venv"
    shutil.rmtree(root, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--clear", environment])
    run([
        environment / "bin" / "pip", "install", "--quiet", "--no-compile", "--target", root / LIBRARIES,
        "--implementation", "cp", "--python-version", PYTHON.removeprefix("python"), "--only-binary", ":all:",
        "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64",
        ANSIBLE, *(word for path in REQUIREMENTS for word in ("--requirement", path)),
    ])  # fmt: skip
    write_tree(target, root, LIBRARIES)


def _write_code(directory: Path, target: Path) -> None:
    root = directory / "code"
    shutil.rmtree(root, ignore_errors=True)
    (root / COLLECTION).mkdir(parents=True)
    for part in PARTS:
        source = PROJECT / part
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, root / COLLECTION / part)
    for cache in root.rglob("__pycache__"):
        shutil.rmtree(cache)
    write_tree(target, root, "usr/share/ansible")
