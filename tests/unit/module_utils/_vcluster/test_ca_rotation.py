"""The stages in which servers and etcd get other CAs, on a host in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation, connection, keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, common, k3s_cas
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import RenderContext
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster as cluster_spec

from .example import SHARED, make_item
from .fake_host import FakeHost

NAMESPACE = "payments--dev"
NOW = datetime.now(UTC)
OLD = k3s_cas.make(NOW)
SECRET, STATEFUL_SET = "v1/Secret", "apps/v1/StatefulSet"


class Rig:
    """A virtual cluster of mode shared on a host, whose server is a dictionary of files."""

    def __init__(self, host: FakeHost, **options: Any) -> None:
        self.host = host
        self.spec = cluster_spec.parse(make_item(**{**SHARED, **options}))
        self.given: list[dict[str, str]] = []  # what k3s was given, one after the other
        self.etcd: list[dict[str, str]] = []  # what etcd has restarted with
        made = replace(keys.new(self.spec), ca=OLD["server-ca.crt"])
        for obj in cluster.everything(self.rendering(made)):
            host.apply(obj)

    def rendering(self, kept: common.Keys) -> RenderContext:
        return RenderContext(self.spec, kept, address="192.0.2.10", kubernetes_ip="10.43.1.1", dns_ip="10.43.1.2")

    @property
    def found(self) -> VirtualCluster:
        return VirtualCluster(self.host, self.host.get("v1/Namespace", NAMESPACE))  # type: ignore[arg-type]  # a fake

    def plan(self, older_than: timedelta | None = None) -> ca_rotation.RotationPlan:
        """A hundred days after its CAs were made."""
        return ca_rotation.plan_rotation(self.found, NAMESPACE, older_than, NOW + timedelta(days=100))

    def run(self, _container: Any, _doing: str, script: str, *given: str, **_: Any) -> str:
        return OLD[given[-1]] if script == ca_rotation._READ else ""

    def hand_over(self, files: dict[str, str]) -> bytes:
        self.given.append(dict(files))
        return b""

    def annotations(self, part: str) -> dict[str, str]:
        return self.host.get(STATEFUL_SET, part, NAMESPACE)["spec"]["template"]["metadata"]["annotations"]

    def secret(self, name: str) -> dict[str, str]:
        return decoded(self.host.get(SECRET, name, NAMESPACE))

    def etcd_restarts(self, *_of: Any) -> None:
        self.etcd.append(self.secret("etcd-certificates"))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Rig]:
    def make(**options: Any) -> Rig:
        made = Rig(FakeHost.hub(), **options)
        monkeypatch.setattr(connection, "inside", lambda *_of: FakeHost("inside"))
        monkeypatch.setattr(connection, "serving_pod", lambda *_of: "server-0")
        for name, stand_in in {
            "run": made.run, "_archive": made.hand_over, "wait_for_etcd": made.etcd_restarts,
            "wait_for_server": lambda *_of: None, "wait_until_ready": lambda *_of: None,
            "end_published": lambda *_of: None,
        }.items():  # fmt: skip
            monkeypatch.setattr(ca_rotation, name, stand_in)
        return made

    return make


def test_one_server_restarts_once_with_new_cas_only(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.plan().perform(None)
    (given,) = one.given
    assert set(given) == set(OLD)
    assert not set(given.values()) & set(OLD.values())
    assert one.secret("platform-credential")["ca.crt"] == given["server-ca.crt"]
    assert {ca_rotation.MARK} < {*one.annotations("server")}
    assert ca_rotation.MARK in one.annotations("syncer")
    assert one.host.get(SECRET, ca_rotation.ROTATION, NAMESPACE) is None
    assert not ca_rotation.is_interrupted(one.found)


def test_three_servers_trust_both_before_they_drop_the_old(rig: Callable[..., Rig]) -> None:
    three = rig(servers=3, resources={"cpu": "8", "memory": "8Gi", "pods": 30})
    before = three.secret("etcd-certificates")
    three.plan().perform(None)
    between, last = three.given
    assert OLD["client-ca.crt"] in between["client-ca.crt"]
    assert last["client-ca.crt"] in between["client-ca.crt"]
    assert OLD["client-ca.crt"] not in last["client-ca.crt"]
    assert between["client-ca.key"] == last["client-ca.key"] != OLD["client-ca.key"]
    first, second, third = three.etcd
    assert first["server.crt"] != second["server.crt"] == third["server.crt"]
    assert first["ca.crt"] == second["ca.crt"] != third["ca.crt"]
    assert first["ca.crt"].startswith(third["ca.crt"])
    assert first["ca.crt"].removeprefix(third["ca.crt"]) == before["ca.crt"]


def test_after_a_rotation_of_etcd_the_next_run_changes_nothing(rig: Callable[..., Rig]) -> None:
    """What the rotation writes is what would be rendered of the keys that are kept."""
    three = rig(servers=3, resources={"cpu": "8", "memory": "8Gi", "pods": 30})
    before = three.secret("etcd-certificates")
    three.plan().perform(None)
    kept, complete = keys.kept(three.host, three.spec)  # type: ignore[arg-type]  # a fake
    assert complete
    assert kept.etcd["ca.crt"] != before["ca.crt"]
    rendered = {(obj["kind"], obj["metadata"]["name"]): obj for obj in cluster.everything(three.rendering(kept))}
    for part in ("server", "etcd"):
        wanted = rendered["StatefulSet", part]["spec"]["template"]["metadata"]["annotations"]
        assert {key: three.annotations(part)[key] for key in wanted} == wanted
    for name in ("server-config", "etcd-certificates", "platform-credential"):
        assert three.secret(name) == decoded(rendered["Secret", name])


def test_younger_cas_stay_unless_a_rotation_was_interrupted(rig: Callable[..., Rig]) -> None:
    one = rig()
    assert not one.plan(timedelta(days=101)).actions
    assert one.plan(timedelta(days=99)).actions
    assert one.plan().actions
    before = one.host.writes.copy()
    one.plan(timedelta(days=101)).perform(None)
    assert one.host.writes == before
    one.host.create(common.secret({"name": ca_rotation.ROTATION, "namespace": NAMESPACE}, k3s_cas.make(NOW)))
    assert one.plan(timedelta(days=101)).actions


def test_plan_rotation_has_all_values_and_keeps_them(rig: Callable[..., Rig]) -> None:
    one = rig()
    nothing = one.plan(timedelta(days=101))
    assert (nothing.files, nothing.certificates, nothing.sets, nothing.several) == ({}, None, (), False)
    plan = one.plan()
    before = dict(plan.files)
    plan.perform(None)
    assert plan.files == before
    with pytest.raises(FrozenInstanceError):
        plan.ended = True  # type: ignore[misc]  # what is tested


def test_the_secret_of_a_rotation_has_no_old_key_and_is_not_pruned(rig: Callable[..., Rig]) -> None:
    three = rig(servers=3, resources={"cpu": "8", "memory": "8Gi", "pods": 30})
    plan = three.plan()
    plan._begin()
    found = three.host.get(SECRET, ca_rotation.ROTATION, NAMESPACE)
    assert not {OLD[name] for name in OLD if name.endswith(".key")} & {*decoded(found).values()}
    assert "tenantry.dev/vcluster" not in found["metadata"]["labels"]
    assert ca_rotation.is_interrupted(three.found)
    assert {*plan.keys} >= {pem for name, pem in decoded(found).items() if name.endswith(".key")}


def test_what_cannot_be_rotated_is_told(rig: Callable[..., Rig]) -> None:
    one = rig()
    with pytest.raises(TenantryError, match="payments--dev does not exist and cannot be rotated"):
        ca_rotation.plan_rotation(None, NAMESPACE, None, NOW)
    one.host.merge(SECRET, "platform-credential", NAMESPACE, {"data": {"ca.crt": None}})
    with pytest.raises(TenantryError, match="was never ready and cannot be rotated"):
        one.plan()
    one.host.merge(STATEFUL_SET, "server", NAMESPACE, {"spec": {"replicas": 0}})
    with pytest.raises(TenantryError, match=r"is paused and cannot be rotated\. Resume it with state: resumed"):
        one.plan()
