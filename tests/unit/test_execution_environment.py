"""The definition of the execution environment, as ansible-builder reads it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "execution-environment"
builder = pytest.importorskip("ansible_builder", reason="the oldest packages are tested without ansible-builder")


def ran(*words: str | Path, where: Path = ROOT) -> str:
    """What ansible-builder prints where it must not fail."""
    command = [Path(sys.executable).with_name("ansible-builder"), *words]
    run = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def named(file: str) -> set[str]:
    lines = (ROOT / file).read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_create_writes_a_context_with_the_collection(tmp_path: Path) -> None:
    shutil.copytree(DEFINITION, tmp_path / "definition")
    (tmp_path / "definition/tenantry-kube.tar.gz").write_bytes(b"built by make dist")
    ran("create", "--context", tmp_path / "context", where=tmp_path / "definition")
    files = tmp_path / "context/_build"
    wanted = yaml.safe_load((files / "requirements.yml").read_text())["collections"]
    assert [(files.joinpath(one["name"].removeprefix("/build/")).is_file(), one["type"]) for one in wanted] == [
        (True, "file")
    ]
    container = (tmp_path / "context/Containerfile").read_text()
    assert "COPY _build /build" in container
    assert '--collections-path "/usr/share/ansible/collections"' in container


def test_introspection_finds_every_requirement(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections/tenantry/kube"
    collection.mkdir(parents=True)
    for file in ("meta", "requirements.txt", "bindep.txt", "galaxy.yml"):
        (collection / file).symlink_to(ROOT / file)
    found = yaml.safe_load(ran("introspect", tmp_path))
    python, system = ({line.partition("  #")[0] for line in found[kind]} for kind in ("python", "system"))
    assert python == named("requirements.txt") - {"PyYAML"}  # ansible-core brings it
    assert system == named("bindep.txt")


def test_the_reconciler_starts_in_it() -> None:
    from ansible_collections.tenantry.kube.plugins.module_utils._platform import reconciler

    assert reconciler.COLLECTIONS == "/usr/share/ansible/collections"
    assert (ROOT / "build" / reconciler.MODULE.replace(".", "/") / "__main__.py").is_file()
