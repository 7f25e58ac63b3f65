"""One tenant in everybody's way (WAY-1): whatever is wrong in one virtual cluster, a run goes on with all others."""

from __future__ import annotations

import base64
import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import client, kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection

from .faults import Faults, proxy
from .harness import ModuleResult, call_module, kubectl, ran
from .people import contexts, tenant_with
from .tls import self_signed

# Of the webhook, which is at most 30 at a real one; and what the module may take of a virtual cluster's time.
WEBHOOK_SECONDS, TIMEOUT = 4, 6


@contextmanager
def silent_webhook(cluster: Path, directory: Path) -> Iterator[None]:
    """All that the platform writes inside waits for somebody who never answers."""
    certificate, _key = self_signed(directory)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        rules = [
            {
                "apiGroups": ["", "rbac.authorization.k8s.io", "flowcontrol.apiserver.k8s.io"],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": [
                    "clusterroles", "clusterrolebindings", "serviceaccounts", "serviceaccounts/token", "flowschemas",
                ],
            }
        ]  # fmt: skip
        webhook = {
            "name": "silent.example.com",
            "clientConfig": {
                "url": f"https://127.0.0.1:{listening.getsockname()[1]}/",
                "caBundle": base64.b64encode(certificate.read_bytes()).decode(),
            },
            "rules": rules,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": WEBHOOK_SECONDS,
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        ran(cluster, "create", "-f", "-", stdin=json.dumps({**kind, "metadata": {"name": "s"}, "webhooks": [webhook]}))
        try:
            probe = ("create", "serviceaccount", "probe", "-n", "default", "--dry-run=server")
            while kubectl(cluster, *probe).returncode == 0:  # nothing tells when an API server has learned of it
                time.sleep(0.2)
            yield
        finally:
            ran(cluster, "delete", "validatingwebhookconfiguration", "s")


@pytest.fixture(scope="module")
def tenants(platform: Path, dev: Path, stage: Path) -> Iterator[Path]:
    """A hub with the tenants slow and quick, who have a virtual cluster each."""
    with tenant_with(platform, "slow", {"dev": dev}), tenant_with(platform, "quick", {"stage": stage}):
        yield platform


@pytest.fixture
def two(tenants: Path) -> Iterator[Path]:
    """The same, without users before and after the test."""
    yield tenants
    gone = [{"tenant": tenant, "name": name, "state": "absent"} for tenant in ("slow", "quick") for name in USERS]
    removed = call_module("tenant_user", kubeconfig=tenants, users=gone)
    assert not removed.failed, removed.msg


USERS = ("ann", "ben", "cleo")


def _users(directory: Path, role: str) -> list[dict[str, Any]]:
    return [
        {
            "tenant": tenant,
            "name": name,
            "role": role,
            "kubeconfig_path": str(directory / f"{tenant}-{name}.yaml"),
        }
        for tenant in ("slow", "quick")
        for name in USERS
    ]


def _by_tenant(result: ModuleResult, tenant: str) -> list[dict[str, Any]]:
    return [row for row in result.data["results"] if row["tenant"] == tenant]


def _timed(run: Callable[[], ModuleResult]) -> tuple[ModuleResult, float]:
    begun = time.monotonic()
    return run(), time.monotonic() - begun


@pytest.mark.parametrize("check", [True, False])
def test_a_webhook_that_hangs_is_waited_for_once(two: Path, dev: Path, tmp_path: Path, check: bool) -> None:
    options = {"kubeconfig": two, "timeout": TIMEOUT, "check": check}
    made, usual = _timed(
        lambda: call_module("tenant_user", users=_users(tmp_path, "viewer"), **{**options, "check": False})
    )
    assert not made.failed, made.msg
    with silent_webhook(dev, tmp_path):
        changed, seconds = _timed(lambda: call_module("tenant_user", users=_users(tmp_path, "developer"), **options))
    print(f"usual {usual:.1f} s, with a webhook that hangs {seconds:.1f} s")
    assert seconds < usual + TIMEOUT + 2
    quick, slow = _by_tenant(changed, "quick"), _by_tenant(changed, "slow")
    assert [row.get("error") for row in quick] == [None] * 3
    assert all(row["changed"] for row in quick)
    if not check:  # a check writes nothing, which is all that a webhook can hold up
        assert all("failed calling webhook" in row["error"] for row in slow)
        assert "remove or repair that webhook" in changed.msg
    assert not call_module("tenant_user", users=_users(tmp_path, "developer"), **{**options, "check": False}).failed


def test_tokens_that_hang_cost_their_own_context_only(two: Path, dev: Path, stage: Path, tmp_path: Path) -> None:
    options = {"kubeconfig": two, "timeout": TIMEOUT}
    with tenant_with(two, "both", {"dev": dev, "stage": stage}):
        item = {"tenant": "both", "name": "dora", "role": "viewer"}
        try:
            assert not call_module("tenant_user", **options, **item).failed
            path = tmp_path / "dora.yaml"
            with silent_webhook(dev, tmp_path):
                given, seconds = _timed(lambda: call_module("tenant_user", **options, **item, kubeconfig_path=path))
            assert seconds < TIMEOUT + 5
            assert "vcluster dev on hub: " in given.msg
            assert contexts(path) == ["both--stage"]
            again = call_module("tenant_user", **options, **item, kubeconfig_path=path)
            assert not again.failed, again.msg
            assert contexts(path) == ["both--dev", "both--stage"]
        finally:
            call_module("tenant_user", **options, **{**item, "state": "absent"})


@contextmanager
def _behind(cluster: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, namespace: str) -> Iterator[Any]:
    """The inside of one virtual cluster behind a proxy that spoils answers."""
    admin = kubeconfig.load(str(cluster))
    ca = base64.b64decode(admin["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    known = connection.inside
    with proxy(directory, admin["clusters"][0]["cluster"]["server"], ca) as (address, certificate, faults):

        def inside(host: Cluster, name: str) -> Cluster:
            found = known(host, name)
            if name != namespace:
                return found
            entry = {
                "server": address,
                "certificate-authority-data": base64.b64encode(certificate.read_bytes()).decode(),
            }
            token = found.headers["Authorization"].removeprefix("Bearer ")
            config = {"clusters": [{"name": "x", "cluster": entry}], "users": [{"name": "x", "user": {"token": token}}]}
            return Cluster.from_kubeconfig(config, name=namespace, timeout=host.timeout)

        monkeypatch.setattr(connection, "inside", inside)
        yield faults
        faults.released.set()


@pytest.mark.parametrize(
    ("fault", "check"),
    [("hang", True), *((fault, False) for fault in ("hang", "drip", "flood", "nonsense", "429"))],
)
def test_whatever_an_api_server_answers_the_others_are_done(
    two: Path, dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, check: bool
) -> None:
    """As when an administrator inside serves an API group himself."""
    users = _users(tmp_path, "viewer")
    with _behind(dev, tmp_path, monkeypatch, "slow--dev") as faults:
        faults.spoil(fault, 10_000)
        made, seconds = _timed(
            lambda: call_module("tenant_user", kubeconfig=two, users=users, timeout=TIMEOUT, check=check)
        )
        print(f"{fault}: {seconds:.1f} s")
        assert seconds < TIMEOUT + 8
        assert all("vcluster dev on hub: " in row["error"] for row in _by_tenant(made, "slow"))
        assert [row.get("error") for row in _by_tenant(made, "quick")] == [None] * 3
        assert all(row["changed"] for row in _by_tenant(made, "quick"))
        told = call_module("tenant_user_info", kubeconfig=two, timeout=TIMEOUT)
        assert not told.failed, told.msg
        assert set(told.data["unreachable_vclusters"]) == {"slow--dev"}


@contextmanager
def _tenants_behind_proxy(directory: Path, timeout: int) -> Iterator[tuple[Cluster, Faults]]:
    """The API of a virtual cluster that its administrator serves, and nobody behind it."""
    with proxy(directory, "https://127.0.0.1:1", "") as (address, certificate, faults):
        entry = {"server": address, "certificate-authority-data": base64.b64encode(certificate.read_bytes()).decode()}
        config = {"clusters": [{"name": "x", "cluster": entry}], "users": [{"name": "x", "user": {}}]}
        tenants = Cluster.from_kubeconfig(config, name="dev", timeout=timeout).limited(60)
        yield tenants, faults
        tenants.close()


@pytest.mark.parametrize("fault", ["flood", "bomb"])
def test_no_answer_fills_the_controllers_memory(tmp_path: Path, fault: str) -> None:
    with _tenants_behind_proxy(tmp_path, 60) as (tenants, faults):
        faults.spoil(fault, 1)
        tracemalloc.start()
        try:
            with pytest.raises(ApiError) as told:
                tenants.list("v1/ConfigMap")
            _now, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        print(f"{fault}: {most // 2**20} MiB, {told.value}")
        assert most < 3 * 32 * 2**20
        if fault == "flood":
            assert "with more than 32 MiB" in str(told.value)
            assert faults.seen["GET"] == 1


def test_a_watch_ends_whatever_comes(tmp_path: Path) -> None:
    """An administrator inside can serve even the API that has nodes, and send a byte now and then."""
    with _tenants_behind_proxy(tmp_path, 1) as (tenants, faults):
        for fault, most in (("drip", 20), ("flood", 60)):
            faults.spoil(fault, 10)
            begun = time.monotonic()
            with pytest.raises(ApiError):
                list(tenants.watch("v1/Node", timeout=1))
            faults.released.set()
            seconds = time.monotonic() - begun
            print(f"{fault}: {seconds:.1f} s")
            assert seconds < most


def test_many_objects_are_read_in_pages_and_too_many_not_at_all(
    api_server: Path, cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"c{number:02}" for number in range(12)}
    for name in sorted(names):
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}})
    tenants = Cluster.from_kubeconfig(kubeconfig.load(str(api_server)), name="dev").limited(30)
    monkeypatch.setattr(client, "PAGE", 5)
    found = {one["metadata"]["name"] for one in tenants.list("v1/ConfigMap", namespace)}
    assert found - {"kube-root-ca.crt"} == names
    sizes = [len(page) for page in tenants.pages("v1/ConfigMap", namespace, size=5)]
    assert max(sizes) == 5
    monkeypatch.setattr(client, "MOST", 10)
    with pytest.raises(ApiError, match=r"there are more than 10[.] Delete those that nothing needs"):
        tenants.list("v1/ConfigMap", namespace)
    tenants.close()
