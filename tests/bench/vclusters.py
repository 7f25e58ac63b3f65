"""Virtual clusters to measure: made in the demo by the module, and removed again."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for

from ..lab.harness import DEMO, kubectl, run_module

HUB = DEMO / "hub.yaml"
TENANT, NAME = "payments", "bench"
SPACE = f"{TENANT}--{NAME}"
SMALL = {"cpu": "2", "memory": "2Gi", "storage": "5Gi", "pods": 10}
# Room for the pods of a scale-up; it fits into what the demo leaves of the tenant's quota.
LARGE = {"cpu": "6.8", "memory": "6Gi", "storage": "5Gi", "pods": 70}


def create_dedicated() -> None:
    """A server and nothing else: no node, no syncer."""
    _vcluster(mode="dedicated", version=version(), agents=0)


def create_shared(**arguments: object) -> None:
    _vcluster(**{"mode": "shared", "version": version(), "resources": SMALL} | arguments)


def delete() -> None:
    _vcluster(state="absent")


@contextlib.contextmanager
def large_shared() -> Iterator[Cluster]:
    """A virtual cluster in mode shared with room for many pods, as its administrator."""
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig.yaml"
        try:
            create_shared(resources=LARGE, expose={"type": "NodePort"}, kubeconfig_path=str(kubeconfig))
            cluster = connect(kubeconfig)
            wait_for(
                cluster,
                "apps/v1/Deployment",
                "coredns",
                "kube-system",
                _is_available,
                Deadline(60),
                what="CoreDNS inside",
            )
            yield cluster
        finally:
            delete()


def connect(kubeconfig: Path) -> Cluster:
    return Cluster.from_kubeconfig(kubeconfig_files.load(str(kubeconfig)), name=kubeconfig.stem)


def _is_available(deployment: dict) -> bool:
    return bool(deployment.get("status", {}).get("availableReplicas"))


def _vcluster(**arguments: object) -> None:
    arguments |= {"kubeconfig": str(HUB), "tenant": TENANT, "name": NAME}
    result = run_module("vcluster", **arguments)
    if result.failed:
        raise SystemExit(f"bench: {result.msg}")


def version() -> str:
    told = kubectl(HUB, "version", "-o", "json").stdout
    return str(json.loads(told)["serverVersion"]["gitVersion"])
