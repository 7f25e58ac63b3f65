"""Two that would work with the data of one server, as processes: the shells of both images, and a stand-in for k3s."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca, common
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests

from ..example import render

WAITING = "waiting until it has ended"
BUSYBOX = pytest.param(
    "busybox",
    marks=pytest.mark.skipif(not shutil.which("busybox"), reason="there is no busybox, as k3s's image has it"),
)

Run = Callable[[str], subprocess.Popen[str]]


def script_of(what: str) -> str:
    if what == "server":
        return server_manifests.START.replace("$$", "$")  # as the kubelet has it
    pod = maintenance_pod.pod(server_manifests.stateful_set(render()))
    return pod["spec"]["containers"][0]["command"][-1]


@pytest.fixture(params=["sh", BUSYBOX])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Starts the script of a server, a maintenance pod or, to see what else holds a server back, one without lock."""
    k3s = tmp_path / "k3s"
    k3s.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/started\nexec sleep 600\n")
    k3s.chmod(0o755)
    shell = ["busybox", "sh"] if request.param == "busybox" else ["sh"]
    found: list[subprocess.Popen[str]] = []

    def start(what: str) -> subprocess.Popen[str]:
        script = script_of(what.partition(" ")[0]).replace(f"exec {common.K3S}", f"exec {k3s}")
        script = script.replace(common.DATA_DIRECTORY, str(tmp_path / "data"))
        script = script.replace(client_ca.DIRECTORY, str(tmp_path / "ca"))
        script = script.replace(server_manifests.CLIENT_CAS, str(tmp_path / "client-cas.crt"))
        if what.endswith("without lock"):
            script = script.replace("flock", "true")
        # A session each, so that its children end with it, as those of a container do.
        process = subprocess.Popen([*shell, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True)
        found.append(process)
        return process

    yield start
    for process in found:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """As a container is killed: at once, and whole."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait(timeout=10)


def started(tmp_path: Path, number: int) -> list[str]:
    """The servers that run, once there are so many."""
    deadline = time.monotonic() + 10
    file = tmp_path / "started"
    while (found := file.read_text().split() if file.exists() else []) != found[:number] or len(found) < number:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def test_a_second_server_waits_until_the_first_was_killed(run: Run, tmp_path: Path) -> None:
    first = run("server")
    assert started(tmp_path, 1) == [str(first.pid)]  # k3s is the process that the kubelet stops
    second = run("server")
    assert WAITING in second.stderr.readline()
    assert started(tmp_path, 1) == [str(first.pid)]
    end(first)
    assert started(tmp_path, 2) == [str(first.pid), str(second.pid)]


def test_without_the_lock_both_start(run: Run, tmp_path: Path) -> None:
    servers = [run("server without lock"), run("server without lock")]
    assert {*started(tmp_path, 2)} == {str(one.pid) for one in servers}


def test_one_that_waits_is_stopped_at_once(run: Run, tmp_path: Path) -> None:
    run("server")
    started(tmp_path, 1)
    second = run("server")
    assert WAITING in second.stderr.readline()
    second.terminate()
    assert second.wait(timeout=5) != 0
    assert len(started(tmp_path, 1)) == 1


def test_maintenance_pod_does_not_start_beside_a_server(run: Run, tmp_path: Path) -> None:
    run("server")
    started(tmp_path, 1)
    maintenance = run("maintenance")
    assert maintenance.wait(timeout=10) == 1
    assert "a server uses the data" in maintenance.stderr.read()


def test_server_does_not_start_beside_a_maintenance_pod(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lock = tmp_path / "data" / ".server.lock"
    lock.touch()
    maintenance = run("maintenance")
    deadline = time.monotonic() + 10
    while f":{lock.stat().st_ino} " not in Path("/proc/locks").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server = run("server")
    assert WAITING in server.stderr.readline()
    assert not (tmp_path / "started").exists()
    end(maintenance)
    assert started(tmp_path, 1) == [str(server.pid)]


def test_the_file_of_client_cas_follows_both_of_its_parts(run: Run, tmp_path: Path) -> None:
    """k3s's own is there after its start, and a new one after it was replaced by the datastore's."""
    ours, own, file = (
        tmp_path / "ca" / "ca.crt",
        tmp_path / "data/server/tls/client-ca.crt",
        tmp_path / "client-cas.crt",
    )
    ours.parent.mkdir()
    ours.write_text("ours\n")
    server = run("server")
    started(tmp_path, 1)
    assert file.read_text() == "ours\n"
    own.parent.mkdir()
    for content in ("own\n", "of the datastore\n"):
        own.write_text(content)
        until(lambda expected=f"ours\n{content}": file.read_text() == expected)
    children = subprocess.run(["pgrep", "-g", str(server.pid)], capture_output=True, text=True, check=True).stdout
    assert len(children.split()) > 1
    server.kill()
    server.wait(timeout=10)
    until(lambda: subprocess.run(["pgrep", "-g", str(server.pid)], check=False, capture_output=True).returncode == 1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_storage_without_locks_starts_nothing(run: Run, tmp_path: Path) -> None:
    """Here: a lock that cannot be opened."""
    (tmp_path / "data" / ".server.lock").mkdir(parents=True)
    server = run("server")
    assert server.wait(timeout=10) != 0
    assert not (tmp_path / "started").exists()


def test_a_restore_leaves_the_lock_where_it_is() -> None:
    """It replaces the directory of the server, with what is in it."""
    assert Path(common.DATA_LOCK).parent == Path(common.DATA_DIRECTORY)
