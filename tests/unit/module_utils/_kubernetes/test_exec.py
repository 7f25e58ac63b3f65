"""Commands in containers: what is read of their output, and why they failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec

from .pod_server import STDOUT, Pod, cluster_of, pod_server


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
    assert sum(sizes) == 100_000
