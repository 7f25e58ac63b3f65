"""The image of the syncer: Debian's Python, the pinned libraries and the package, a layer each.

Only the smallest layer is made anew when the package changes. Everything in it is compiled by the Python that runs it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from .config import PROJECT, Lab
from .images import Image, write_tree
from .process import cached, digest, file_digest, run, tree_digest
from .rootfs import PYTHON

SOURCE = PROJECT / "syncer"
PACKAGE = "tenantry_syncer"
# Where Debian's Python looks for what is not Debian's.
LIBRARIES = f"usr/local/lib/{PYTHON}/dist-packages"
ENVIRONMENT = ("PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
USER = "65532"
NOT_NEEDED = ("bin", "**/tests", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.h", "**/*.c")


def image_name() -> str:
    """The image of the collection of this checkout, by a name that only the lab's mirror serves."""
    version = re.search(r"^version: (\S+)$", (PROJECT / "galaxy.yml").read_text(), re.MULTILINE)[1]
    return f"docker.io/lab/syncer:{version}"


def build(lab: Lab, base: Path) -> Image:
    """The image, from the root file system with Python in it."""
    directory = lab.dir / "syncer"
    root, libraries, code = directory / "root", directory / "libraries.tar", directory / "code.tar"
    libraries_key = digest(file_digest(base), (SOURCE / "requirements.lock").read_bytes(), *NOT_NEEDED)
    code_key = digest(libraries_key, tree_digest(SOURCE / PACKAGE))
    cached(libraries, libraries_key, lambda: _write_libraries(base, root, libraries), "libraries of the syncer")
    cached(code, code_key, lambda: _write_code(root, code), "syncer")
    return Image(image_name(), [base, libraries, code], ["python3", "-m", PACKAGE], environment=ENVIRONMENT, user=USER)


def _write_libraries(base: Path, root: Path, target: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run(["tar", "--extract", "--file", base, "--directory", root])
    environment = root.parent / "venv"
    run([sys.executable, "-m", "venv", "--clear", environment])
    run([
        environment / "bin" / "pip", "install", "--quiet", "--no-compile", "--target", root / LIBRARIES,
        "--implementation", "cp", "--python-version", PYTHON.removeprefix("python"), "--only-binary", ":all:",
        "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64",
        "--require-hashes", "--no-deps", "--requirement", SOURCE / "requirements.lock",
    ])  # fmt: skip
    for pattern in NOT_NEEDED:
        for path in (root / LIBRARIES).glob(pattern):
            run(["rm", "-r", path])
    _compile(root, LIBRARIES)
    write_tree(target, root, LIBRARIES)


def _write_code(root: Path, target: Path) -> None:
    inside = f"{LIBRARIES}/{PACKAGE}"
    shutil.rmtree(root / inside, ignore_errors=True)
    shutil.copytree(SOURCE / PACKAGE, root / inside, ignore=shutil.ignore_patterns("__pycache__"))
    _compile(root, inside)
    write_tree(target, root, inside)


def _compile(root: Path, directory: str) -> None:
    # A layer does not keep the times of the sources, by which Python otherwise tells whether they have changed.
    words = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"/{directory}"]
    run(["chroot", root, "/usr/bin/python3", *words])
