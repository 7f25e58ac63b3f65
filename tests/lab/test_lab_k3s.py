"""The lab's k3s takes what the collection uses of the real command line, and refuses everything else."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import K3S, ROOT, ApiServer, _free_port, kubectl, lab

NOT_IMPLEMENTED = "is a real k3s option that the lab's k3s does not implement"
DNS = "10.43.0.77"
# A controller of Kubernetes, and the service account it makes for itself as soon as it starts.
OFF = {
    "node-ipam-controller": "node-controller",
    "node-lifecycle-controller": "node-controller",
    "persistentvolume-attach-detach-controller": "attachdetach-controller",
    "persistentvolume-binder-controller": "persistent-volume-binder",
    "persistentvolume-expander-controller": "expand-controller",
    "taint-eviction-controller": "node-controller",
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "worker", "labels": {"kubernetes.io/os": "linux"}},
    "spec": {"podCIDR": "10.42.0.0/24"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": "worker"}],
        "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "100"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}],
    },
}


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
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
    finally:
        server.kill()


@pytest.fixture
def for_pods_elsewhere(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a server with CoreDNS whose pods somebody else schedules and runs."""
    kubeconfig, config, log = (tmp_path / name for name in ("kubeconfig.yaml", "config.yaml", "k3s.log"))
    controllers = ["*", "tokencleaner", *(f"-{name}" for name in OFF)]
    config.write_text(json.dumps({
        "disable-agent": True,
        "disable-scheduler": True,
        "disable": ["local-storage", "metrics-server", "servicelb", "traefik"],
        "kube-controller-manager-arg": [f"controllers={','.join(controllers)}", "allocate-node-cidrs=false"],
        "cluster-dns": DNS,
        "data-dir": str(tmp_path / "data"),
        "write-kubeconfig": str(kubeconfig),
        "bind-address": "127.0.0.1",
        "https-listen-port": _free_port(),
    }))  # fmt: skip
    with log.open("wb") as stream:
        process = subprocess.Popen([K3S, "server", "--config", config], stdout=stream, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while not (kubeconfig.exists() and kubectl(kubeconfig, "get", "--raw", "/readyz").returncode == 0):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < end, "no API server after 60 s"
            time.sleep(0.1)  # nothing to watch before the API server listens
        yield kubeconfig
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_scheduler_and_controllers_can_be_left_to_a_host(for_pods_elsewhere: Path) -> None:
    def ask(*words: str, stdin: str | None = None) -> str:
        run = kubectl(for_pods_elsewhere, "--namespace", "kube-system", *words, stdin=stdin)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def wait(thing: str, *conditions: str) -> None:
        for condition in ("create", *conditions):
            ask("wait", thing, f"--for={condition}", "--timeout=60s")

    wait("deployment/coredns", "jsonpath={.status.replicas}=1")
    assert "NodeHosts" not in json.loads(ask("get", "configmap", "coredns", "-o", "json"))["data"]
    ask("create", "-f", "-", stdin=json.dumps(NODE))
    wait("configmap/coredns", "jsonpath={.data.NodeHosts}")
    assert json.loads(ask("get", "configmap", "coredns", "-o", "json"))["data"]["NodeHosts"] == "127.0.0.1 worker\n"
    ask("taint", "node", "worker", "node.kubernetes.io/not-ready-")  # nobody else takes it away

    (pod,) = json.loads(ask("get", "pods", "-l", "k8s-app=kube-dns", "-o", "json"))["items"]
    assert "nodeName" not in pod["spec"]
    assert "conditions" not in pod["status"], "a scheduler would have said what it thinks of the pod"
    assert "scheduler_pending_pods" not in ask("get", "--raw", "/metrics")

    assert json.loads(ask("get", "service", "kube-dns", "-o", "json"))["spec"]["clusterIP"] == DNS
    running = {line.partition("/")[2] for line in ask("get", "serviceaccounts", "-o", "name").splitlines()}
    assert {"deployment-controller", "namespace-controller"} <= running
    assert not running & set(OFF.values())


def test_it_calls_itself_what_it_is() -> None:
    shown = subprocess.run([K3S, "--version"], capture_output=True, text=True, check=True).stdout
    assert "+lab" in shown.splitlines()[0]
    assert ROOT in K3S.parents
