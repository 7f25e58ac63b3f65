"""The lab's k3s takes what the collection uses of the real command line, and refuses everything else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .harness import K3S, ROOT, ApiServer, kubectl, lab

NOT_IMPLEMENTED = "is a real k3s option that the lab's k3s does not implement"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    lab("build")


def test_its_own_unit_tests_pass() -> None:
    go = shutil.which("go") or ROOT / "build/lab/go/bin/go"
    module = ROOT / "tests/lab/k3s"
    packages = sorted({f"./{path.parent.relative_to(module)}" for path in module.glob("internal/*/*_test.go")})
    assert packages
    run = subprocess.run([go, "test", *packages], cwd=module, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def refused(*arguments: str | Path) -> str:
    run = subprocess.run([K3S, *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode != 0
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    return lines[0]


@pytest.mark.parametrize("command", ["server", "agent"])
def test_an_option_that_k3s_lacks_is_refused(command: str) -> None:
    assert refused(command, "--no-such-option") == f"k3s: --no-such-option is not an option of k3s {command}"


def test_a_real_option_that_is_not_implemented_says_so() -> None:
    assert NOT_IMPLEMENTED in refused("server", "--etcd-s3")


@pytest.mark.parametrize(
    ("line", "answer"), [("tls-sans: [a]", "tls-sans is not an option"), ("cluster-init: true", NOT_IMPLEMENTED)]
)
def test_the_keys_of_the_configuration_file_are_the_same(tmp_path: Path, line: str, answer: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(line + "\n")
    assert answer in refused("server", "--config", config)


def test_what_it_takes_works(tmp_path: Path) -> None:
    server = ApiServer(tmp_path)
    try:
        kubeconfig = server.start()
        assert kubectl(kubeconfig, "get", "--raw", "/readyz").stdout == "ok"
    finally:
        server.stop()


def test_it_calls_itself_what_it_is() -> None:
    shown = subprocess.run([K3S, "--version"], capture_output=True, text=True, check=True).stdout
    assert "+lab" in shown.splitlines()[0]
    assert ROOT in K3S.parents
