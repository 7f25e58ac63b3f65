"""How the lab tests run things: the lab command, playbooks, single modules, kubectl, an API server of one process."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .tenantry_lab.config import Lab
from .tenantry_lab.syncer import image_name

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
DEMO = BUILD / "demo"
K3S = BUILD / "lab" / "bin" / "k3s"
KUBECTL = K3S.with_name("kubectl")
# As the lab and the demo's inventory: LAB_SUBNET puts both elsewhere.
MIRROR = f"http://{os.environ.get('LAB_SUBNET', '10.213.0.0/24').rpartition('.')[0]}.1:8213"
# Of k3s, as the lab serves it: K3S_RELEASE makes all tests run on another.
RELEASE = Lab.from_environment(os.environ).version
# What every module takes where a test does not say otherwise, as an administrator may set it.
os.environ["TENANTRY_SYNCER_IMAGE"] = image_name()
NIGHTLY = os.environ.get("TENANTRY_NIGHTLY") == "1"

_RUN_MODULE = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
name, arguments = json.load(sys.stdin)
with patch_module_args(arguments):
    importlib.import_module(f"ansible_collections.tenantry.kube.plugins.modules.{name}").main()
"""


@dataclass(frozen=True)
class ModuleResult:
    """What one run of a module said; `text` is all that it printed, for tests that search it."""

    failed: bool
    data: dict[str, Any]
    text: str

    @property
    def changed(self) -> bool:
        return bool(self.data.get("changed"))

    @property
    def msg(self) -> str:
        return str(self.data.get("msg", ""))


def run_module(
    module: str, /, *, check: bool = False, diff: bool = False, kill_after: float | None = None, **arguments: Any
) -> ModuleResult:
    """Run a module as Ansible does, in a process of its own, and return what it answered.

    With `kill_after` it gets a SIGKILL after so many seconds, and subprocess.TimeoutExpired is raised.
    """
    arguments |= {"_ansible_check_mode": check, "_ansible_diff": diff}
    run = subprocess.run(
        [sys.executable, "-c", _RUN_MODULE],
        input=json.dumps([module, arguments], default=str),
        capture_output=True,
        text=True,
        check=False,
        timeout=kill_after,
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    assert lines, f"the module {module} answered no JSON:\n{run.stdout}\n{run.stderr}"
    return ModuleResult(failed=run.returncode != 0, data=json.loads(lines[-1]), text=run.stdout + run.stderr)


def call_module(module: str, /, *, check: bool = False, diff: bool = False, **arguments: Any) -> ModuleResult:
    """Run a module within this process: ten times as fast, and parts of it can be replaced by a test."""
    from ansible.module_utils.testing import patch_module_args  # which the oldest ansible-core does not have

    controller = "ansible._internal" in sys.modules
    assert not controller, "a test imports a part of Ansible's controller, which modules would give their warnings to"
    arguments |= {"_ansible_check_mode": check, "_ansible_diff": diff}
    code = importlib.import_module(f"ansible_collections.tenantry.kube.plugins.modules.{module}")
    output = io.StringIO()
    with (
        patch_module_args(json.loads(json.dumps(arguments, default=str))),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit) as end,
    ):
        code.main()
    lines = [line for line in output.getvalue().splitlines() if line.startswith("{")]
    return ModuleResult(failed=bool(end.value.code), data=json.loads(lines[-1]), text=output.getvalue())


def sized(usual: int, nightly: int) -> int:
    """How much of something a test does: little in `make test`, more in `make nightly`."""
    return nightly if NIGHTLY else usual


def minor_of(release: str) -> int:
    return int(release.split(".")[1])


def minors_from(release: str, by: int) -> str:
    """The same release some minors later, or earlier; nothing says that it exists."""
    major, minor, rest = release.split(".", 2)
    return f"{major}.{int(minor) + by}.{rest}"


def lab(*arguments: str) -> str:
    """Run the lab command; its output goes to the terminal's log on failure."""
    run = subprocess.run([ROOT / "tests/lab/lab", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"lab {' '.join(arguments)} failed:\n{run.stdout}\n{run.stderr}"
    return run.stdout


@contextlib.contextmanager
def lab_as_found() -> Iterator[None]:
    """A lab that was down before is down afterwards; one that somebody has up for work or for the demo stays."""
    was_up = any("running" in line for line in lab("status").splitlines()[1:])
    try:
        yield
    finally:
        if not was_up:
            lab("down")


def ansible_playbook(
    playbook: str, *arguments: str, inventory: str = "inventories/demo", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection as a user in the checkout would."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ansible_environment())
    assert not check or run.returncode == 0, f"{playbook} failed:\n{run.stdout}\n{run.stderr}"
    return run


def ansible_environment() -> dict[str, str]:
    """The environment for Ansible: the checkout's own ansible.cfg, no colours."""
    return os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the lab's kubectl with a kubeconfig; the caller looks at the exit code."""
    return subprocess.run(
        [KUBECTL, "--kubeconfig", kubeconfig, *arguments],
        # Not in the user's home, where what another lab at the same address could do is remembered.
        env=os.environ | {"KUBECACHEDIR": str(BUILD / "kubectl-cache")},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def ran(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints where it must not fail."""
    run = kubectl(kubeconfig, *arguments, stdin=stdin)
    assert run.returncode == 0, f"kubectl {' '.join(arguments)}: {run.stderr}"
    return run.stdout


def until(found: Callable[[], Any], seconds: float = 60, explain: Callable[[], str] = str) -> Any:
    """What is found, once it is: for what two clusters have to agree on, where there is no one thing to watch."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"not so after {seconds} s{explain()}"
        time.sleep(0.2)
    return value


def until_in(words: str, text: Callable[[], str], seconds: float = 60) -> None:
    """Wait until a text has the words; a failure shows the last one."""
    last = ""

    def said() -> bool:
        nonlocal last
        last = text()
        return words in last

    until(said, seconds, lambda: f": {words!r} is not in {last}")


# What comes and goes by itself, and what the system puts into every namespace.
_RESTLESS = {
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "nodes.metrics.k8s.io",
    "pods.metrics.k8s.io",
}
_GIVEN = (" kube-root-ca.crt", "ServiceAccount default")


def everything(kubeconfig: Path) -> set[str]:
    """All objects of all kinds that a cluster has, as lines of kind, name and namespace, once it is at rest."""
    kinds = kubectl(kubeconfig, "api-resources", "--verbs=list", "-o", "name").stdout.split()
    wanted = ",".join(kind for kind in kinds if kind not in _RESTLESS)
    columns = "custom-columns=KIND:.kind,NAME:.metadata.name,NAMESPACE:.metadata.namespace"

    def look() -> set[str]:
        listed = kubectl(kubeconfig, "get", wanted, "--all-namespaces", "--no-headers", "-o", columns)
        assert listed.returncode == 0, listed.stderr
        lines = {" ".join(line.split()) for line in listed.stdout.splitlines()}
        return {line for line in lines if not any(given in line for given in _GIVEN)}

    seen = look()
    while seen != (again := look()):
        seen = again
    return seen


def writes(kubeconfig: Path) -> list[str]:
    """Every change that the collection has asked of an ApiServer, by its audit log."""
    events = map(json.loads, kubeconfig.with_name(AUDIT_LOG).read_text().splitlines())
    ours = (event for event in events if event.get("userAgent", "").startswith("tenantry.kube"))
    return [f"{event['verb']} {event['requestURI']}" for event in ours if event["verb"] not in _READ]


AUDIT_LOG = "audit.log"
# Of the platform's own identity, as the API server of a virtual cluster has one.
PLATFORM_TOKEN = "0123456789abcdef" * 4
_READ = ["get", "list", "watch"]
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": _READ, "resources": [{"group": "", "resources": ["secrets"]}]},
        {"level": "None", "verbs": _READ},
        {"level": "Metadata"},
    ],
}


class ApiServer:
    """The lab's k3s as one agentless process on the loopback address, with an audit log of all changes."""

    def __init__(
        self, directory: Path, arguments: Sequence[str] = (), command: Sequence[str | Path] = (K3S, "server")
    ) -> None:
        self.directory = directory
        self.command = command
        self.arguments = arguments
        self.kubeconfig = directory / "kubeconfig.yaml"
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, deadline_seconds: float = 60) -> Path:
        """Start it and wait until it is ready; returns the administrator's kubeconfig."""
        log = (self.directory / "k3s.log").open("wb")
        policy = self.directory / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))
        tokens = self.directory / "tokens.csv"
        tokens.write_text(f'{PLATFORM_TOKEN},tenantry:platform,tenantry:platform,"system:masters"\n')
        self.process = subprocess.Popen(
            [
                # Without what runs in pods: there is no node, and namespaces wait for all APIs to answer.
                *self.command, "--disable-agent", "--disable", "coredns,local-storage,metrics-server",
                "--data-dir", self.directory / "data",
                "--write-kubeconfig", self.kubeconfig, "--bind-address", "127.0.0.1",
                "--https-listen-port", str(self.port),
                "--kube-apiserver-arg", f"audit-policy-file={policy}",
                "--kube-apiserver-arg", f"audit-log-path={self.directory / AUDIT_LOG}",
                "--kube-apiserver-arg", f"token-auth-file={tokens}",
                *self.arguments,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        end = time.monotonic() + deadline_seconds
        while not (self.kubeconfig.exists() and kubectl(self.kubeconfig, "get", "--raw", "/readyz").returncode == 0):
            assert self.process.poll() is None, (self.directory / "k3s.log").read_text(errors="replace")[-3000:]
            assert time.monotonic() < end, f"no API server after {deadline_seconds} s"
            time.sleep(0.1)  # nothing to watch before the API server listens
        return self.kubeconfig

    def kill(self) -> None:
        """At once, as when its memory limit is reached or the machine loses power."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=30)


def _free_port() -> int:
    """Of none that the kernel gives to connections, so that it is still free when a server takes it."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
