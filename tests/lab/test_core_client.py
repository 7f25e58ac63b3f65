"""The client against a real API server."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import KubeContext
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.port_forward import pool_through
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from urllib3.exceptions import HTTPError

from .tls import self_signed


def _config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"test": "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _with_token(cluster: Cluster, token: str, name: str = "other") -> Cluster:
    context = KubeContext("x", cluster.server, cluster.ca_data, "x", token)
    return Cluster.from_kubeconfig(kubeconfig.build([context], "x"), name=name, timeout=5)


def test_version_and_identity(cluster: Cluster) -> None:
    assert cluster.version().startswith("v1.")
    assert cluster.identity() == cluster.get("v1/Namespace", "kube-system")["metadata"]["uid"]


def test_create_read_apply_delete(cluster: Cluster, namespace: str) -> None:
    assert cluster.get("v1/ConfigMap", "c", namespace) is None
    made = cluster.create(_config_map(namespace, "c", a="1"))
    with pytest.raises(ApiError, match="creating v1/ConfigMap") as caught:
        cluster.create(_config_map(namespace, "c"))
    assert caught.value.status == 409
    assert cluster.apply(_config_map(namespace, "c", a="2"))["data"] == {"a": "2"}
    assert cluster.get("v1/ConfigMap", "c", namespace)["data"] == {"a": "2"}
    with pytest.raises(ApiError):
        cluster.delete("v1/ConfigMap", "c", namespace, uid="00000000-0000-0000-0000-000000000000")
    assert cluster.delete("v1/ConfigMap", "c", namespace, uid=made["metadata"]["uid"])
    assert not cluster.delete("v1/ConfigMap", "c", namespace)


def test_lists_are_of_one_namespace_or_all_and_know_their_kind(cluster: Cluster, namespace: str) -> None:
    cluster.map(cluster.apply, [_config_map(namespace, f"c{number}") for number in range(20)])
    cluster.apply({**_config_map(namespace, "unmarked"), "metadata": {"name": "unmarked", "namespace": namespace}})
    selected = cluster.list("v1/ConfigMap", namespace, "test=yes")
    assert len(selected) == 20
    assert {(obj["apiVersion"], obj["kind"]) for obj in selected} == {("v1", "ConfigMap")}
    everywhere = {obj["metadata"]["name"] for obj in cluster.list("v1/ConfigMap")}
    assert {"unmarked", "c0", "extension-apiserver-authentication"} <= everywhere


def test_a_list_has_what_was_just_written(cluster: Cluster, namespace: str) -> None:
    """Before 0.16.5 kine could tell the API server of a revision before the event that made it: k3s-io/kine#731."""

    def lacks(name: str) -> bool:
        cluster.create(_config_map(namespace, name))
        return name not in {obj["metadata"]["name"] for obj in cluster.list("v1/ConfigMap", namespace)}

    names = [f"c{number}" for number in range(300)]
    assert [name for name, missing in zip(names, cluster.map(lacks, names), strict=True) if missing] == []


def test_map_raises_after_all_have_ended(cluster: Cluster, namespace: str) -> None:
    bad = _config_map(namespace, "NOT-A-NAME")
    with pytest.raises(ApiError, match=r"applying v1/ConfigMap .*/NOT-A-NAME on hub .* 422 "):
        cluster.map(cluster.apply, [bad, *(_config_map(namespace, f"c{number}") for number in range(20))])
    assert len(cluster.list("v1/ConfigMap", namespace, "test=yes")) == 20


def test_a_watch_begins_with_what_exists(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_config_map(namespace, "c", a="1"))
    seen = []
    for event, obj in cluster.watch("v1/ConfigMap", namespace, name="c", timeout=10):
        seen.append((event, obj["data"].get("a")))
        if event == "ADDED":
            threading.Thread(target=cluster.apply, args=[_config_map(namespace, "c", a="2")]).start()
        if event == "MODIFIED":
            cluster.delete("v1/ConfigMap", "c", namespace)
        if event == "DELETED":
            break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_watches_leave_no_connection_taken(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_config_map(namespace, "c"))
    for _number in range(40):
        for _event in cluster.watch("v1/ConfigMap", namespace, name="c", timeout=10):
            break
    assert cluster.get("v1/ConfigMap", "c", namespace)


def test_a_watch_from_the_distant_past_is_a_transient_error(cluster: Cluster) -> None:
    with pytest.raises(ApiError) as caught:
        list(cluster.watch("v1/ConfigMap", resource_version="1", timeout=2))
    assert caught.value.transient


def test_deleting_the_secret_revokes_the_token(cluster: Cluster, namespace: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "p", "namespace": namespace}})
    made = [
        cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}})
        for name in ("one", "two")
    ]
    tokens = [cluster.token_request(namespace, "p", seconds=3600, bound_secret=secret) for secret in made]
    assert all(expiry.endswith("Z") for _token, expiry in tokens)
    first, second = (_with_token(cluster, token) for token, _expiry in tokens)
    for person in (first, second):
        assert person.whoami() == f"system:serviceaccount:{namespace}:p"
    cluster.delete("v1/Secret", "one", namespace)

    def status(person: Cluster) -> int | None:
        try:
            person.whoami()
        except ApiError as error:
            return error.status
        return 201

    deadline = Deadline(60)  # an API server remembers a good token for ten seconds
    while status(first) == 201 and not deadline.expired:
        deadline.pause()
    assert (status(first), status(second)) == (401, 201)


def test_a_refused_credential_is_one_line_without_it(cluster: Cluster) -> None:
    with pytest.raises(ApiError) as caught:
        _with_token(cluster, "swordfish-0123456789").list("v1/Node")
    text = str(caught.value)
    assert caught.value.status == 401
    assert "listing v1/Node on other" in text
    assert cluster.server in text
    assert "use a valid one" in text
    assert "swordfish" not in text


def test_missing_rights_name_what_is_missing(cluster: Cluster, namespace: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "p", "namespace": namespace}})
    token, _expiry = cluster.token_request(namespace, "p", seconds=3600, bound_secret=None)
    with pytest.raises(ApiError, match=r'reading v1/Secret .*403 .*cannot get resource "secrets"') as caught:
        _with_token(cluster, token).get("v1/Secret", "x", namespace)
    assert caught.value.status == 403
    assert not caught.value.transient


def test_another_clusters_ca_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    certificate, _key = self_signed(tmp_path)
    other = base64.b64encode(certificate.read_bytes()).decode()
    config = kubeconfig.build([KubeContext("x", cluster.server, other, "x", "t")], "x")
    with pytest.raises(ApiError, match=r"TLS failed: .*Check the CA") as caught:
        Cluster.from_kubeconfig(config, name="edge").version()
    assert "\n" not in str(caught.value)


def test_nobody_listens(cluster: Cluster) -> None:
    config = kubeconfig.build([KubeContext("x", "https://127.0.0.1:1", cluster.ca_data, "x", "t")], "x")
    with pytest.raises(ApiError, match=r"cannot connect: .*refused. Check that the address") as caught:
        Cluster.from_kubeconfig(config, name="edge", timeout=5).version()
    assert caught.value.status is None


def test_no_credential_is_left_in_a_file(api_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    config = kubeconfig.load(str(api_server))
    assert config["users"][0]["user"].keys() & {"client-key-data", "token"}
    assert Cluster.from_kubeconfig(config, name="hub").version()
    assert list(tmp_path.iterdir()) == []


def test_waiting_sees_a_change_at_once(cluster: Cluster, namespace: str) -> None:
    timer = threading.Timer(0.5, cluster.apply, [_config_map(namespace, "c", ready="yes")])
    timer.start()
    deadline = Deadline(20)
    found = wait_for(
        cluster, "v1/ConfigMap", "c", namespace, lambda obj: obj["data"].get("ready") == "yes", deadline, what="c"
    )
    assert found["data"] == {"ready": "yes"}
    assert deadline.remaining() > 18


@pytest.mark.parametrize("pod", ["server-0", "etcd-2"])
def test_a_port_forward_to_no_pod_names_it(cluster: Cluster, namespace: str, pod: str) -> None:
    pool = pool_through(cluster, namespace, lambda: pod, 6443)(pod, 6443, timeout=5)
    with pytest.raises(HTTPError, match=f"there is no pod {pod}$"):
        pool.request("GET", "/readyz", retries=False)
