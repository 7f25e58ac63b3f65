"""The client in front of a misbehaving API server: bounded, nothing twice, one line."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import KubeContext
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for, wait_gone

from .faults import Faults, proxy

KIND = "v1/ConfigMap"
TIMEOUT = 1  # seconds a request may take


@pytest.fixture(scope="module")
def _proxied(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Faults]]:
    """The API server behind the proxy, as an administrator."""
    metadata = {"name": "faults", "namespace": "default"}
    subject = {"kind": "ServiceAccount", "name": "faults", "namespace": "default"}
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "faults"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    cluster.apply(binding)
    token, _expiry = cluster.token_request("default", "faults", seconds=3600, bound_secret=None)
    ca = base64.b64decode(cluster.ca_data).decode()
    with proxy(tmp_path_factory.mktemp("proxy"), cluster.server, ca) as (address, certificate, faults):
        context = KubeContext("x", address, base64.b64encode(certificate.read_bytes()).decode(), "x", token)
        config = kubeconfig.build([context], "x")
        yield Cluster.from_kubeconfig(config, name="edge", timeout=TIMEOUT), faults
    cluster.delete(f"{rbac}/v1/ClusterRoleBinding", "faults")
    cluster.delete("v1/ServiceAccount", "faults", "default")


@pytest.fixture
def faults(_proxied: tuple[Cluster, Faults]) -> Iterator[Faults]:
    yield _proxied[1]
    _proxied[1].spoil("none", 0)
    _proxied[1].released.set()


@pytest.fixture
def edge(_proxied: tuple[Cluster, Faults]) -> Cluster:
    return _proxied[0]


def _config_map(namespace: str, name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def _calls(namespace: str) -> dict[str, Any]:
    """A request of each verb, and whether it may be sent again where its fate is unknown."""
    return {
        "GET": lambda edge: edge.get(KIND, "c", namespace),
        "LIST": lambda edge: edge.list(KIND, namespace),
        "PATCH": lambda edge: edge.apply(_config_map(namespace, a="2")),
        "DELETE": lambda edge: edge.delete(KIND, "c", namespace),
        "POST": lambda edge: edge.create(_config_map(namespace, "new")),
    }


@pytest.mark.parametrize("fault", ["429", "500", "502", "503", "504", "reset", "cut"])
@pytest.mark.parametrize("verb", ["GET", "LIST", "PATCH", "DELETE"])
def test_two_faults_in_a_row_are_survived(
    cluster: Cluster, edge: Cluster, faults: Faults, namespace: str, verb: str, fault: str
) -> None:
    cluster.apply(_config_map(namespace, a="1"))
    faults.spoil(fault, 2)
    assert _calls(namespace)[verb](edge) is not None
    assert sum(faults.seen.values()) == 3
    if verb == "PATCH":
        assert cluster.get(KIND, "c", namespace)["data"] == {"a": "2"}
    if verb == "DELETE":
        assert cluster.get(KIND, "c", namespace) is None


def test_a_hang_is_given_up_and_tried_once_more(
    cluster: Cluster, edge: Cluster, faults: Faults, namespace: str
) -> None:
    cluster.apply(_config_map(namespace, a="1"))
    faults.spoil("hang", 1)
    assert edge.get(KIND, "c", namespace)["data"] == {"a": "1"}
    faults.spoil("hang", 99)
    started = time.monotonic()
    with pytest.raises(ApiError, match=r"reading v1/ConfigMap .* on edge .*: no answer in time. Check that") as caught:
        edge.get(KIND, "c", namespace)
    assert time.monotonic() - started < 4 * TIMEOUT
    assert faults.seen["GET"] == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_a_server_that_never_recovers_is_given_up(edge: Cluster, faults: Faults, namespace: str, fault: str) -> None:
    faults.spoil(fault, 99)
    started = time.monotonic()
    with pytest.raises(ApiError) as caught:
        edge.list(KIND, namespace)
    assert time.monotonic() - started < 10
    assert faults.seen["GET"] <= 6
    assert caught.value.transient
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut", "lost"])
def test_a_create_is_never_sent_twice(
    cluster: Cluster, edge: Cluster, faults: Faults, namespace: str, fault: str
) -> None:
    faults.spoil(fault, 1)
    with pytest.raises(ApiError):
        edge.create(_config_map(namespace, "new"))
    assert faults.seen["POST"] == 1
    assert bool(cluster.get(KIND, "new", namespace)) == (fault in ("cut", "lost"))


def test_a_create_that_was_not_accepted_is_sent_again(edge: Cluster, faults: Faults, namespace: str) -> None:
    faults.spoil("429", 2)
    assert edge.create(_config_map(namespace, "new"))
    assert faults.seen["POST"] == 3


def test_an_answer_lost_after_commit_does_no_harm(
    cluster: Cluster, edge: Cluster, faults: Faults, namespace: str
) -> None:
    faults.spoil("lost", 1)
    assert edge.apply(_config_map(namespace, a="1"))["data"] == {"a": "1"}
    assert cluster.get(KIND, "c", namespace)["data"] == {"a": "1"}
    faults.spoil("lost", 1)
    edge.delete(KIND, "c", namespace)
    assert cluster.get(KIND, "c", namespace) is None


def test_three_conflicts_of_an_apply_are_survived(edge: Cluster, faults: Faults, namespace: str) -> None:
    faults.spoil("409", 3)
    assert edge.apply(_config_map(namespace, a="1"))["data"] == {"a": "1"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_final(edge: Cluster, faults: Faults, namespace: str, status: int) -> None:
    faults.spoil(str(status), 99)
    with pytest.raises(ApiError) as caught:
        edge.apply(_config_map(namespace, a="1"))
    assert caught.value.status == status
    assert sum(faults.seen.values()) == 1


@pytest.mark.parametrize("fault", ["500", "reset", "cut"])
def test_waits_outlast_faults(cluster: Cluster, edge: Cluster, faults: Faults, namespace: str, fault: str) -> None:
    cluster.apply(_config_map(namespace, a="1"))
    faults.spoil(fault, 8)
    found = wait_for(edge, KIND, "c", namespace, lambda obj: True, Deadline(30), what="c")
    assert found["data"] == {"a": "1"}
    cluster.delete(KIND, "c", namespace)
    faults.spoil(fault, 8)
    wait_gone(edge, KIND, "c", namespace, Deadline(30), what="c")


def test_a_wait_for_a_server_that_is_gone_ends_with_its_deadline(edge: Cluster, faults: Faults, namespace: str) -> None:
    faults.spoil("reset", 10_000)
    started = time.monotonic()
    with pytest.raises(Exception, match=r"c: not ready within 3 s: .*the connection broke") as caught:
        wait_for(edge, KIND, "c", namespace, lambda obj: True, Deadline(3), what="c")
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)
