"""Commands in containers: what is read of their output, and why they failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec

from .pod_server import STDERR, STDOUT, Pod, cluster_of, pod_server


def _container(entry: dict) -> pod_exec.Container:
    return pod_exec.Container(cluster_of(entry), "shop", "web-0", "web")


def test_output_without_an_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(pod: Pod) -> None:
        for _number in range(100):
            pod.send(STDOUT, b"x" * 1000)
        pod.end()

    monkeypatch.setattr(pod_exec, "LARGEST_OUTPUT", 50_000, raising=False)
    sizes: list[int] = []
    with pod_server(tmp_path, write) as entry:
        with pytest.raises(TenantryError, match=r"^looking: the command wrote more than .* MiB\. Check its pod$"):
            pod_exec.run(_container(entry), "looking", "true")
        assert pod_exec.run(_container(entry), "looking", "true", sink=lambda piece: sizes.append(len(piece))) == ""
        few = pod_exec.Output("fetching", 50_000)
        with pytest.raises(TenantryError, match=r"^fetching: the command wrote more than"):
            pod_exec.run(_container(entry), "fetching", "true", sink=few.add)
    assert sum(sizes) == 100_000


def test_command_at_the_deadline_has_a_second(tmp_path: Path) -> None:
    def answer(pod: Pod) -> None:
        time.sleep(0.1)
        pod.send(STDOUT, b"done")
        pod.end()

    with pod_server(tmp_path, answer) as entry:
        assert pod_exec.run(_container(entry), "looking", "true", seconds=0) == "done"


def _large_file() -> Iterator[bytes]:
    for _number in range(1000):
        yield b"x" * pod_exec.CHUNK
    pytest.fail("all of the input was sent")


def _send(entry: dict) -> str:
    return pod_exec.run(_container(entry), "sending the database", "head -c 9 >file", stdin=_large_file())


def test_reason_of_a_command_that_fails_early_is_reported(tmp_path: Path) -> None:
    def fail(pod: Pod) -> None:
        pod.send(STDERR, b"head: write error: No space left on device\n")
        pod.end(status="Failure", message="command terminated with non-zero exit code")

    with pod_server(tmp_path, fail) as entry, pytest.raises(TenantryError) as caught:
        _send(entry)
    reason = "head: write error: No space left on device"
    assert str(caught.value) == f"sending the database: {reason} (container web of pod shop/web-0 on edge)"


def test_broken_connection_without_a_reason_is_reported(tmp_path: Path) -> None:
    with pod_server(tmp_path, lambda _pod: None) as entry, pytest.raises(ApiError) as caught:
        _send(entry)
    assert str(caught.value).endswith(" in container web of pod shop/web-0 on edge; run again")


def test_success_before_the_end_of_the_input_is_an_error(tmp_path: Path) -> None:
    with pod_server(tmp_path, Pod.end) as entry, pytest.raises(ApiError, match=r"; run again$"):
        _send(entry)
