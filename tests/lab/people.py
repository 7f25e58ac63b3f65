"""What the tests of users share: virtual clusters without pods, and what a kubeconfig may do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as _kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import requests as _requests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import lifecycle as _vcluster_upkeep

from .harness import ModuleResult, call_module, kubectl, ran, until, writes

User = Callable[..., ModuleResult]


def add_vcluster(hub: Path, tenant: str, name: str, **recorded: Any) -> None:
    """As much of a virtual cluster as budgets and users look at: its namespace, with its record."""
    metadata = {
        "name": f"{tenant}--{name}",
        "labels": labels_of(tenant, name),
        "annotations": {"tenantry.dev/spec": json.dumps(recorded)},
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    made = kubectl(hub, "create", "-f", "-", stdin=json.dumps(space))
    assert made.returncode == 0, made.stderr


def until_old_enough(hub: Path, home: str) -> None:
    """Until the users of a tenant may ask for something: who is as old as a request may not be who made it."""
    since = json.loads(ran(hub, "get", "serviceaccounts", "-n", home, "-o", "json"))["items"]
    youngest = max(_vcluster_upkeep.moment(one["metadata"]["creationTimestamp"]) for one in since)
    until(lambda: _requests.clock() >= youngest + timedelta(seconds=1))


def labels_of(tenant: str, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "tenantry.kube",
        "tenantry.dev/component": "vcluster",
        "tenantry.dev/tenant": tenant,
        "tenantry.dev/vcluster": name,
    }


@contextmanager
def tenant_with(hub: Path, tenant: str, insides: dict[str, Path], **recorded: Any) -> Iterator[None]:
    """A tenant whose virtual clusters, by name, are other API servers: how the platform gets in is left out."""
    assert not call_module("tenant_quota", kubeconfig=hub, tenant=tenant).failed
    spaces = {f"{tenant}--{name}": inside for name, inside in insides.items()}
    for name in insides:
        add_vcluster(hub, tenant, name, **recorded)
    known_inside, known_endpoint = _tunnel.inside, _tunnel.endpoint

    def inside(host: Cluster, namespace: str) -> Cluster:
        if namespace not in spaces:
            return known_inside(host, namespace)
        found = Cluster.from_kubeconfig(_kubeconfig.load(str(spaces[namespace])), name=namespace)
        found.requester = host.requester
        return found

    def endpoint(host: Cluster, space: dict[str, Any]) -> str:
        name = space["metadata"]["name"]
        return server(spaces[name]) if name in spaces else known_endpoint(host, space)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tunnel, "inside", inside)
        patch.setattr(_tunnel, "endpoint", endpoint)
        yield
    kubectl(hub, "delete", "namespace", *spaces)
    removed = call_module("tenant_quota", kubeconfig=hub, tenant=tenant, state="absent")
    assert not removed.failed, removed.msg


def server(kubeconfig: Path) -> str:
    return yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]


def can(kubeconfig: Path, context: str, *question: str) -> bool:
    return kubectl(kubeconfig, "--context", context, "auth", "can-i", *question).stdout.strip() == "yes"


def is_known(kubeconfig: Path, context: str) -> bool:
    return kubectl(kubeconfig, "--context", context, "auth", "whoami").returncode == 0


def is_refused(kubeconfig: Path, context: str) -> bool:
    """Within a minute: an API server remembers a good token for ten seconds."""
    end = time.monotonic() + 60
    while is_known(kubeconfig, context) and time.monotonic() < end:
        time.sleep(0.2)
    return "Unauthorized" in kubectl(kubeconfig, "--context", context, "auth", "whoami").stderr


def await_policy(refusal: Callable[[], int]) -> None:
    """An API server enforces an admission policy a moment after it was made; nothing tells when."""
    end = time.monotonic() + 10
    while not refusal() and time.monotonic() < end:
        time.sleep(0.1)


def contexts(kubeconfig: Path) -> list[str]:
    return [context["name"] for context in yaml.safe_load(kubeconfig.read_text())["contexts"]]


def tokens(kubeconfig: Path) -> dict[str, str]:
    return {entry["name"]: entry["user"]["token"] for entry in yaml.safe_load(kubeconfig.read_text())["users"]}


def all_writes(*clusters: Path) -> list[int]:
    return [len(writes(cluster)) for cluster in clusters]
