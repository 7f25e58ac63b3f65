"""Operations of states that need only the existing virtual cluster, on a host in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.operations import AbsentOperation
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import DesiredVCluster, PlacedVCluster

from .example import render
from .fake_host import FakeHost

CONTEXT = SimpleNamespace(check_mode=False)


def test_absent_names_a_kubeconfig_that_stays(tmp_path: Path) -> None:
    host = FakeHost("hub")
    for obj in cluster.everything(render()):
        host.apply(obj)
    path = tmp_path / "kubeconfig"
    path.mkdir()  # since the validation
    desired = DesiredVCluster("payments", "dev", "absent", None, str(path), None, {})
    operation = AbsentOperation.of(PlacedVCluster(desired, host, None, NO_RECORD))  # type: ignore[arg-type]  # a fake
    result = operation.execute(CONTEXT, Deadline(1), wait=False)  # type: ignore[arg-type]  # as much of it as is used
    assert [one["kind"] for one in result.actions] == ["Namespace"]
    assert result.error == f"kubeconfig_path: cannot delete {path}: Is a directory. Delete it by hand"
