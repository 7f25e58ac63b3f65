"""In every module that takes a list, one item that cannot be done hides no other: neither in a check nor in a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection

from .harness import ApiServer, call_module, kubectl, ran, writes
from .people import silent_member, tenant_with

NAMES = ("one", "two", "three")
CHECKS = pytest.mark.parametrize("check", [True, False])
SPEC = {"version": "v1.37.2+k3s1", "resources": {"cpu": 2, "memory": "2Gi", "storage": "6Gi", "pods": 10}}


def _rows(result: Any) -> dict[str, dict[str, Any]]:
    assert "results" in result.data, result.msg
    return {row["name"]: row for row in result.data["results"]}


def _only_two_failed(result: Any, why: str) -> None:
    rows = _rows(result)
    assert set(rows) == set(NAMES)
    assert why in rows["two"]["error"]
    assert result.msg.count("\n") == 0
    for name in ("one", "three"):
        assert "error" not in rows[name]
        assert rows[name]["changed"]


def _cluster(directory: Path) -> Iterator[Path]:
    server = ApiServer(directory)
    try:
        yield server.start()
    finally:
        server.kill()


@contextmanager
def _in_the_way(cluster: Path, *what: str) -> Iterator[None]:
    ran(cluster, "create", *what)
    try:
        yield
    finally:
        ran(cluster, "delete", *[part for part in what if not part.startswith("--")])


@CHECKS
def test_tenants(platform: Path, check: bool) -> None:
    tenants = [{"tenant": name} for name in NAMES]
    try:
        with _in_the_way(platform, "namespace", "tenant-two"):
            made = call_module("tenant_quota", kubeconfig=platform, tenants=tenants, check=check)
        _only_two_failed(made, "Namespace tenant-two on hub exists and does not belong to the platform")
        for name in ("one", "three"):
            assert (kubectl(platform, "get", "namespace", f"tenant-{name}").returncode == 0) != check
    finally:
        call_module("tenant_quota", kubeconfig=platform, tenants=[{**one, "state": "absent"} for one in tenants])


@CHECKS
def test_users_on_the_hub(payments: Path, dev: Path, check: bool) -> None:
    users = [{"tenant": "payments", "name": name, "role": "viewer"} for name in NAMES]
    try:
        with _in_the_way(payments, "serviceaccount", "two", "-n", "tenant-payments"):
            made = call_module("tenant_user", kubeconfig=payments, users=users, check=check)
            _only_two_failed(
                made, "ServiceAccount tenant-payments/two on hub exists and does not belong to the platform"
            )
            inside = ran(dev, "get", "serviceaccounts", "-A", "-o", "name")
            assert ("serviceaccount/one" in inside, "serviceaccount/two" in inside) == (not check, False)
    finally:
        gone = [{"tenant": "payments", "name": name, "state": "absent"} for name in NAMES]
        assert not call_module("tenant_user", kubeconfig=payments, users=gone).failed


@contextmanager
def _without_label(cluster: Path, kind: str, name: str) -> Iterator[None]:
    """As an administrator inside can take it away; the run that finds it must not fail for others."""
    label = "app.kubernetes.io/managed-by"
    ran(cluster, "label", kind, name, f"{label}-")
    try:
        yield
    finally:
        ran(cluster, "label", kind, name, f"{label}=tenantry.kube", "--overwrite")


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One more cluster, for what is inside a virtual cluster."""
    yield from _cluster(tmp_path_factory.mktemp("third"))


@pytest.fixture(scope="module")
def insides(platform: Path, dev: Path, stage: Path, third: Path) -> Iterator[None]:
    """Three tenants with a virtual cluster and a user each."""
    gone = [{"tenant": tenant, "name": tenant, "state": "absent"} for tenant in NAMES]
    with ExitStack() as stack:
        for tenant, inside in zip(NAMES, (stage, dev, third), strict=True):
            stack.enter_context(tenant_with(platform, tenant, {"x": inside}))
        yield
        assert not call_module("tenant_user", kubeconfig=platform, users=gone).failed


@CHECKS
@pytest.mark.parametrize(("kind", "name"), [("clusterrole", "tenantry:viewer"), ("namespace", "tenantry-system")])
def test_users_inside(platform: Path, dev: Path, insides: None, kind: str, name: str, check: bool) -> None:
    users = [{"tenant": tenant, "name": tenant, "role": "viewer"} for tenant in NAMES]
    assert not call_module("tenant_user", kubeconfig=platform, users=users).failed
    more = [{**user, "role": "developer"} for user in users]
    with _without_label(dev, kind, name):
        made = call_module("tenant_user", kubeconfig=platform, users=more, check=check)
        _only_two_failed(made, "vcluster x on hub: ")
        assert "exists and does not belong to the platform" in made.msg
    assert not call_module("tenant_user", kubeconfig=platform, users=more).failed


@pytest.fixture
def studio(platform: Path) -> Iterator[Callable[..., Any]]:
    """Runs the module vcluster for three virtual clusters of a tenant, without waiting: there are no nodes."""
    tenant = {"kubeconfig": platform, "tenant": "studio"}
    assert not call_module("tenant_quota", **tenant, quota={"cpu": "9", "memory": "9Gi", "vclusters": 9}).failed

    def run(*, check: bool = False, **changes: Any) -> Any:
        items = [{"tenant": "studio", "name": name, **SPEC, **changes} for name in NAMES]
        return call_module("vcluster", kubeconfig=platform, vclusters=items, wait=False, check=check)

    yield run
    gone = [{"tenant": "studio", "name": name, "state": "absent"} for name in NAMES]
    assert not call_module("vcluster", kubeconfig=platform, vclusters=gone).failed
    assert not call_module("tenant_quota", **tenant, state="absent").failed


@CHECKS
def test_virtual_clusters_on_the_host(platform: Path, studio: Callable[..., Any], check: bool) -> None:
    with _in_the_way(platform, "namespace", "studio--two"):
        _only_two_failed(studio(check=check), "Namespace studio--two on hub exists and does not belong to the platform")
        for name in ("one", "three"):
            assert (kubectl(platform, "get", "statefulset", "server", "-n", f"studio--{name}").returncode == 0) != check


@pytest.fixture
def small(platform: Path, studio: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Runs the module vcluster for three, of which `two` is of another tenant, whose quota has room for one server."""
    tenant = {"kubeconfig": platform, "tenant": "small"}
    assert not call_module("tenant_quota", **tenant, quota={"cpu": "1", "memory": "2Gi", "vclusters": 2}).failed

    def run(*, check: bool, **changes: Any) -> Any:
        items = [{"tenant": "studio", "name": name, **SPEC} for name in NAMES]
        items[1] |= {"tenant": "small", **changes}
        return call_module("vcluster", kubeconfig=platform, vclusters=items, wait=False, check=check)

    yield run
    gone = {**tenant, "name": "two", "state": "absent"}
    assert not call_module("vcluster", **gone).failed
    assert not call_module("tenant_quota", **tenant, state="absent").failed


def _are_made(platform: Path) -> list[bool]:
    spaces = ("studio--one", "small--two", "studio--three")
    return [kubectl(platform, "get", "statefulset", "server", "-n", space).returncode == 0 for space in spaces]


@CHECKS
def test_virtual_clusters_of_a_tenant_over_its_quota(platform: Path, small: Callable[..., Any], check: bool) -> None:
    made = small(check=check)
    _only_two_failed(made, "cpu 2 asked for, but 1 left")
    assert made.msg.startswith("small--two: ")
    assert _are_made(platform) == [not check, False, not check]


@CHECKS
def test_virtual_clusters_on_a_host_that_is_silent(platform: Path, small: Callable[..., Any], check: bool) -> None:
    one = {"tenant": "studio", "name": "one", **SPEC, "host": "hub"}
    two = {"tenant": "small", "name": "two", **SPEC, "host": "edge"}
    with silent_member(platform):
        made = call_module("vcluster", kubeconfig=platform, vclusters=[one, two], wait=False, check=check)
    rows = _rows(made)
    assert "cannot connect" in rows["two"]["error"]
    assert "error" not in rows["one"], "it has none there"
    assert rows["one"]["changed"]


def test_virtual_clusters_of_a_tenant_that_is_not_there(platform: Path, small: Callable[..., Any]) -> None:
    _only_two_failed(small(check=False, tenant="smal"), "there is no tenant smal (did you mean small?)")
    assert _are_made(platform) == [True, False, True]


@CHECKS
def test_virtual_clusters_with_the_database_of_another(platform: Path, small: Callable[..., Any], check: bool) -> None:
    database = {"endpoint": "postgres://who:secret-word@db.example.com/dev"}
    own = {"tenant": "studio", "name": "two", **SPEC, "datastore": database}
    assert not call_module("vcluster", kubeconfig=platform, wait=False, **own).failed
    made = small(check=check, datastore=database, resources={**SPEC["resources"], "cpu": 1}, server={"cpu": "500m"})
    _only_two_failed(made, "is already the database of studio--two")


@CHECKS
def test_bad_input_of_one_tenant_stops_all(platform: Path, small: Callable[..., Any], check: bool) -> None:
    before = len(writes(platform))
    refused = small(check=check, version="latest")
    rows = _rows(refused)
    assert set(rows) == set(NAMES)
    assert "latest" in rows["two"]["error"]
    for name in ("one", "three"):
        assert "error" not in rows[name]
        assert rows[name]["not_done"] == "other items of this call are refused"
    assert not any(row["changed"] for row in rows.values())
    assert writes(platform)[before:] == []


def test_a_check_of_virtual_clusters_looks_inside_each_alone(
    platform: Path,
    dev: Path,
    stage: Path,
    third: Path,
    studio: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As was seen: a label taken away inside one made a check fail for all tenants, with no row."""
    insides = {"studio--one": stage, "studio--two": dev, "studio--three": third}

    def connect(host: Cluster, namespace: str, **_credential: str) -> Cluster:
        return Cluster.from_kubeconfig(kubeconfig.load(str(insides[namespace])), name=namespace, timeout=host.timeout)

    assert not studio().failed
    for namespace in insides:  # as first contact writes it down
        ca = json.dumps({"data": {"ca.crt": "Y2E="}})
        ran(platform, "patch", "secret", "platform-credential", "-n", namespace, "--type=merge", "-p", ca)
    monkeypatch.setattr(connection, "connect", connect)
    with tenant_with(platform, "label", {"x": dev}):
        item = {"kubeconfig": platform, "tenant": "label", "name": "bob", "role": "viewer"}
        try:
            assert not call_module("tenant_user", **item).failed
            with _without_label(dev, "clusterrole", "tenantry:viewer"):
                found = studio(check=True, tier="prod")
            _only_two_failed(
                found, "ClusterRole tenantry:viewer on studio--two exists and does not belong to the platform"
            )
        finally:
            assert not call_module("tenant_user", **{**item, "state": "absent"}).failed


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster that can be a member."""
    yield from _cluster(tmp_path_factory.mktemp("other"))


@CHECKS
def test_members(platform: Path, second_api_server: Path, other: Path, tmp_path: Path, check: bool) -> None:
    config = yaml.safe_load(second_api_server.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    down = tmp_path / "down.yaml"
    down.write_text(yaml.safe_dump(config))
    places = {"one": second_api_server, "two": other, "three": down}
    members = [{"name": name, "member_kubeconfig": str(path)} for name, path in places.items()]
    try:
        with _in_the_way(other, "clusterrole", "tenantry:platform", "--verb=get", "--resource=pods"):
            made = call_module("fleet_member", kubeconfig=platform, members=members, check=check)
        rows = _rows(made)
        assert "error" not in rows["one"]
        assert rows["one"]["changed"]
        assert "exists and does not belong to the platform" in rows["two"]["error"]
        assert "cannot connect" in rows["three"]["error"]
        known = kubectl(platform, "get", "secret", "member-one", "-n", "tenantry-system").returncode == 0
        assert known != check
    finally:
        gone = [{**member, "state": "absent"} for member in members[:2]]
        call_module("fleet_member", kubeconfig=platform, members=gone)


@CHECKS
def test_a_member_that_is_a_virtual_cluster_stops_all_and_is_named(
    platform: Path, second_api_server: Path, other: Path, check: bool
) -> None:
    """As the list of bad input says: nothing is written. Each item has its row."""
    labels = ("app.kubernetes.io/managed-by=tenantry.kube", "tenantry.dev/component=user")
    members = [
        {"name": "one", "member_kubeconfig": str(second_api_server)},
        {"name": "two", "member_kubeconfig": str(other)},
    ]
    with _in_the_way(other, "namespace", "tenantry-system"):
        ran(other, "label", "namespace", "tenantry-system", *labels)
        before = len(writes(platform)), len(writes(second_api_server)), len(writes(other))
        refused = call_module("fleet_member", kubeconfig=platform, members=members, check=check)
        assert (len(writes(platform)), len(writes(second_api_server)), len(writes(other))) == before
    assert refused.failed
    assert refused.msg == "member two: its cluster is a virtual cluster, which cannot be a host"
    assert refused.data["results"] == [
        {"name": "one", "changed": False, "not_done": "other items of this call are refused"},
        {"name": "two", "changed": False, "error": refused.msg.removeprefix("member two: ")},
    ]
