"""Plans against a real API server: what they find, do, predict and leave alone."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import labels, selector
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan, existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for, wait_gone

RBAC = "rbac.authorization.k8s.io/v1"


def _object(api_version: str, kind: str, name: str, namespace: str | None = None, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels("tenant", tenant="core")}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return _object("v1", "ConfigMap", name, namespace, data=data)


def _steps(plan: Plan) -> list[tuple[str, str, list[str]]]:
    return [(action.action, action.name, action.paths) for action in plan.actions]


def _plan(cluster: Cluster, desired: list[dict[str, Any]], *, changed: bool = True) -> Plan:
    """A plan once the API server's LIST has caught up with the last write: kine's lags by up to a tenth of a second."""
    deadline = Deadline(5)
    while (plan := Plan.make(cluster, desired)).changed != changed and not deadline.expired:
        deadline.pause(0.02)
    return plan


def _nothing_to_do(cluster: Cluster, desired: list[dict[str, Any]]) -> None:
    assert _steps(_plan(cluster, desired, changed=False)) == []


def _pod_template(name: str) -> dict[str, Any]:
    container = {
        "name": "server",
        "image": "example.com/server:1",
        "args": ["server"],
        "env": [
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "EMPTY", "value": ""},
        ],
        "ports": [{"name": "api", "containerPort": 6443}],
        "resources": {"requests": {"cpu": "0.25", "memory": "262144Ki"}, "limits": {"cpu": 1, "memory": "1024Mi"}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 6443, "scheme": "HTTPS"}, "periodSeconds": 1},
        "securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/c", "readOnly": True},
        ],
    }
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "hostNetwork": False,
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": 10,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "tenant", "operator": "Exists"}],
            "containers": [container],
            "volumes": [
                {"name": "config", "secret": {"secretName": "config", "defaultMode": 0o400}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "0.5Gi"}},
                {"name": "run", "emptyDir": {}},
            ],
        },
    }


def _everything(namespace: str) -> list[dict[str, Any]]:
    """An object of every kind that the collection renders, written as people write them."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    }
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    subject = {"kind": "ServiceAccount", "name": "user", "namespace": namespace}
    stateful_set = {
        "replicas": 1,
        "serviceName": "server",
        "selector": {"matchLabels": {"app": "server"}},
        "template": _pod_template("server"),
        "volumeClaimTemplates": [claim],
    }
    policy = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 53}, {"port": "dns"}]}],
    }
    limits = {"type": "Container", "default": {"cpu": "1000m"}, "defaultRequest": {"cpu": 0.1}, "max": {"cpu": 4}}
    service = {"type": "NodePort", "selector": {"app": "server"}, "ports": [{"name": "api", "port": 6443}]}
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "role"}
    people = [subject, {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]
    return [
        _config_map(namespace, "config", a="1"),
        _object("v1", "Secret", "secret", namespace, type="tenantry.dev/test", stringData={"token": "swordfish"}),
        _object("v1", "ServiceAccount", "user", namespace, automountServiceAccountToken=False),
        _object("v1", "Service", "api", namespace, spec=service),
        _object("v1", "Service", "headless", namespace, spec={"clusterIP": "None", "ports": [{"port": 1}, {"port": 2}]}
                | {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2, "protocol": "UDP"}]}),
        _object("v1", "ResourceQuota", "vcluster", namespace, spec={"hard": {"limits.cpu": "2000m", "pods": 10}}),
        _object("v1", "LimitRange", "defaults", namespace, spec={"limits": [limits]}),
        _object("apps/v1", "StatefulSet", "server", namespace, spec=stateful_set),
        _object("policy/v1", "PodDisruptionBudget", "server", namespace,
                spec={"maxUnavailable": 0, "selector": {"matchLabels": {"app": "server"}}}),
        _object("networking.k8s.io/v1", "NetworkPolicy", "default", namespace, spec=policy),
        _object(RBAC, "Role", "role", namespace, rules=rules),
        _object(RBAC, "RoleBinding", "binding", namespace, roleRef=role_ref, subjects=people),
        _object(RBAC, "ClusterRole", namespace, rules=[*rules, {"nonResourceURLs": ["/x"], "verbs": ["get"]}]),
        _object(RBAC, "ClusterRoleBinding", namespace, roleRef={**role_ref, "kind": "ClusterRole", "name": namespace},
                subjects=[{**subject, "apiGroup": ""}]),
        _object("scheduling.k8s.io/v1", "PriorityClass", namespace, value=1000, globalDefault=False, description=""),
    ]  # fmt: skip


@pytest.fixture
def cleaned(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The namespace, and its name also for cluster-wide objects."""
    yield namespace
    for kind in (f"{RBAC}/ClusterRole", f"{RBAC}/ClusterRoleBinding", "scheduling.k8s.io/v1/PriorityClass"):
        cluster.delete(kind, namespace)


def test_a_second_run_changes_nothing(cluster: Cluster, cleaned: str) -> None:
    desired = _everything(cleaned)
    plan = Plan.make(cluster, desired)
    assert {action.action for action in plan.actions} == {"create"}
    assert len(plan.actions) == len(desired)
    plan.execute()
    _nothing_to_do(cluster, desired)


def test_every_edit_is_found_named_and_repaired(cluster: Cluster, cleaned: str) -> None:
    desired = _everything(cleaned)
    Plan.make(cluster, desired).execute()
    for number, original in enumerate(desired):
        if original["kind"] in ("ServiceAccount", "PriorityClass"):
            continue
        edited = copy.deepcopy(desired)
        edited[number]["metadata"]["labels"]["tenantry.dev/tier"] = "dev"
        plan = _plan(cluster, edited)
        assert [(a.name, a.paths) for a in plan.actions] == [
            (original["metadata"]["name"], ["metadata.labels[tenantry.dev/tier]"])
        ]
        plan.execute()
        back = _plan(cluster, desired)
        assert [(a.name, a.paths) for a in back.actions] == [(plan.actions[0].name, plan.actions[0].paths)]
        back.execute()
    _nothing_to_do(cluster, desired)


def _edit(desired: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(obj for obj in desired if obj["kind"] == kind)


def _nested(obj: Any, *path: Any) -> Any:
    for key in path:
        obj = obj[key]
    return obj


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ClusterRole", lambda o: o["rules"][0].update(resourceNames=["x"])),
        ("ClusterRole", lambda o: o["rules"].pop()),
        ("ClusterRole", lambda o: o["rules"].reverse()),
        ("RoleBinding", lambda o: o["subjects"].pop()),
        ("LimitRange", lambda o: o["spec"]["limits"][0].pop("max")),
        ("NetworkPolicy", lambda o: o["spec"]["egress"][0].pop("to")),
        ("NetworkPolicy", lambda o: o["spec"]["egress"][0]["ports"][0].update(protocol="UDP")),
        ("ResourceQuota", lambda o: o["spec"]["hard"].pop("pods")),
        ("ConfigMap", lambda o: o["data"].update(a="1000m")),
        ("Service", lambda o: o["spec"]["selector"].update(more="x")),
        ("Service", lambda o: o["spec"]["ports"].append({"name": "more", "port": 9})),
        ("Service", lambda o: o["spec"]["ports"][0].update(name="other")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER, "env").pop(1)),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER, "args").append("--x")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER, "resources", "limits").update(cpu="1001m")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER, "securityContext").update(privileged=True)),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER, "volumeMounts").pop()),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER[:3]).pop("nodeSelector")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER[:3], "nodeSelector").update(x="y")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER[:3], "tolerations")[0].update(effect="NoSchedule")),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER[:3], "volumes").__setitem__(
            2, {"name": "run", "hostPath": {"path": "/run"}})),
        ("StatefulSet", lambda o: _nested(o, *CONTAINER[:3]).pop("automountServiceAccountToken")),
    ],
)  # fmt: skip
def test_each_change_is_applied_once_there_and_once_back(
    cluster: Cluster, cleaned: str, kind: str, change: Any
) -> None:
    desired = [_edit(_everything(cleaned), kind)]
    Plan.make(cluster, desired).execute()
    edited = copy.deepcopy(desired)
    change(edited[0])
    for state in (edited, desired):
        plan = _plan(cluster, state)
        assert [action.action for action in plan.actions] == ["update"]
        assert plan.actions[0].paths
        plan.execute()
        _nothing_to_do(cluster, state)


def test_what_somebody_else_changed_is_repaired(cluster: Cluster, cleaned: str) -> None:
    desired = [_edit(_everything(cleaned), kind) for kind in ("ClusterRole", "Service", "ConfigMap")]
    Plan.make(cluster, desired).execute()
    role = cluster.get(f"{RBAC}/ClusterRole", cleaned)
    role["rules"][0]["apiGroups"].append("*")
    _as_somebody_else(cluster, role)
    assert _steps(_plan(cluster, desired)) == [("update", cleaned, ["rules.0.apiGroups"])]
    Plan.make(cluster, desired).execute()
    _nothing_to_do(cluster, desired)


def _as_somebody_else(cluster: Cluster, obj: dict[str, Any]) -> None:
    """What `kubectl edit` does: a write of the whole object by another field manager."""
    path = cluster._path(
        f"{obj['apiVersion']}/{obj['kind']}", obj["metadata"]["name"], obj["metadata"].get("namespace")
    )
    cluster._json("put", path, body=obj, field_manager="kubectl-edit", content_type="application/json")


def test_check_mode_predicts_what_then_happens(cluster: Cluster, cleaned: str) -> None:
    fresh = f"{cleaned}-new"
    desired = [_object("v1", "Namespace", fresh), _config_map(fresh, "c", a="1"), _config_map(cleaned, "c", a="1")]
    try:
        predicted, diff = (plan := Plan.make(cluster, desired)).rows(), plan.diff()
        assert cluster.get("v1/Namespace", fresh) is None
        again = Plan.make(cluster, desired)
        again.execute()
        assert (again.rows(), again.diff()) == (predicted, diff)
        assert all(cluster.get("v1/ConfigMap", "c", where) for where in (fresh, cleaned))
    finally:
        cluster.delete("v1/Namespace", fresh)


def test_a_foreign_object_is_never_adopted(cluster: Cluster, namespace: str) -> None:
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}, "data": {}}
    cluster.create(foreign)
    desired = [_config_map(namespace, "b", a="1"), _config_map(namespace, "c", a="1")]
    with pytest.raises(
        TenantryError, match=f"ConfigMap {namespace}/c on hub exists and does not belong to the platform .*. Remove it"
    ):
        Plan.make(cluster, desired)
    assert cluster.get("v1/ConfigMap", "b", namespace) is None
    cluster.delete("v1/ConfigMap", "c", namespace)
    Plan.make(cluster, desired).execute()


def test_a_foreign_object_made_meanwhile_is_not_taken_over(cluster: Cluster, namespace: str) -> None:
    plan = Plan.make(cluster, [_config_map(namespace, "c", a="ours")])
    theirs = _config_map(namespace, "c", a="theirs")
    path = cluster._path("v1/ConfigMap", None, namespace)
    cluster._json("post", path, body=theirs, field_manager="kubectl", content_type="application/json")
    with pytest.raises(TenantryError, match="409"):
        plan.execute()
    assert cluster.get("v1/ConfigMap", "c", namespace)["data"] == {"a": "theirs"}


def test_two_runs_at_once(cluster: Cluster, namespace: str) -> None:
    desired = [_config_map(namespace, f"c{number}", a="1") for number in range(30)]
    plans = [Plan.make(cluster, desired) for _number in range(4)]
    cluster.map(lambda plan: plan.execute(), plans)
    _nothing_to_do(cluster, desired)
    assert all(cluster.map(lambda obj: cluster.get("v1/ConfigMap", obj["metadata"]["name"], namespace), desired))


def test_what_is_owned_and_no_longer_desired_is_deleted(cluster: Cluster, namespace: str) -> None:
    owned = selector("tenant", tenant="core")
    desired = [_config_map(namespace, name, a="1") for name in ("a", "b", "c")]
    Plan.make(cluster, desired).execute()
    other = _config_map(namespace, "other")
    other["metadata"]["labels"] = labels("tenant", tenant="another")
    cluster.apply(other)
    _nothing_to_do(cluster, [*desired, other])
    plan = Plan.make(cluster, desired[:1], owned=owned, prune_kinds=["v1/ConfigMap", "v1/Secret"], namespace=namespace)
    assert _steps(plan) == [("delete", "b", []), ("delete", "c", [])]
    assert "name: b" in plan.diff()["before"]
    assert plan.diff()["after"] == ""
    plan.execute()
    left = {name for name in ("a", "b", "c", "other") if cluster.get("v1/ConfigMap", name, namespace)}
    assert left == {"a", "other"}


def test_a_role_reference_is_replaced(cluster: Cluster, namespace: str) -> None:
    binding = _edit(_everything(namespace), "RoleBinding")
    Plan.make(cluster, [binding]).execute()
    binding["roleRef"]["name"] = "another"
    plan = _plan(cluster, [binding])
    assert _steps(plan) == [("update", "binding", ["roleRef.name"])]
    plan.execute()
    assert cluster.get(f"{RBAC}/RoleBinding", "binding", namespace)["roleRef"]["name"] == "another"
    _nothing_to_do(cluster, [binding])


def test_a_priority_is_replaced(cluster: Cluster, cleaned: str) -> None:
    priority = _edit(_everything(cleaned), "PriorityClass")
    Plan.make(cluster, [priority]).execute()
    priority["value"] = 2000
    _plan(cluster, [priority]).execute()
    assert cluster.get("scheduling.k8s.io/v1/PriorityClass", cleaned)["value"] == 2000
    _nothing_to_do(cluster, [priority])


def test_a_diff_shows_no_secret(cluster: Cluster, namespace: str) -> None:
    secret = _object("v1", "Secret", "s", namespace, stringData={"token": "swordfish", "other": "pike"})
    plan = Plan.make(cluster, [secret])
    plan.execute()
    shown = str(plan.diff()) + str(plan.rows())
    secret["stringData"]["token"] = "marlin"
    plan = _plan(cluster, [secret])
    shown += str(plan.diff()) + str(plan.rows())
    assert "<redacted: 9 bytes, before>" in plan.diff()["before"]
    assert "<redacted: 6 bytes, after>" in plan.diff()["after"]
    for content in ("swordfish", "pike", "marlin", "c3dvcmRmaXNo", "cGlrZQ", "bWFybGlu"):
        assert content not in shown


def test_an_inventory_serves_many_plans(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desired = [_config_map(namespace, f"c{number}", a="1") for number in range(5)]
    Plan.make(cluster, desired).execute()
    _nothing_to_do(cluster, desired)
    inventory = existing(cluster, ["v1/ConfigMap"], selector("tenant", tenant="core"), [namespace])
    monkeypatch.setattr(cluster, "list", None)
    assert [_steps(Plan.make(cluster, [obj], inventory=inventory)) for obj in desired] == [[]] * 5


def test_a_namespace_that_is_being_deleted_is_refused(cluster: Cluster, namespace: str) -> None:
    name = f"{namespace}-held"
    desired = [_object("v1", "Namespace", name), _config_map(name, "c", a="1")]
    Plan.make(cluster, desired).execute()
    holder = _config_map(name, "holder")
    holder["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.apply(holder)
    try:
        cluster.delete("v1/Namespace", name)
        with pytest.raises(TenantryError, match=f"namespace {name} is still being deleted. Run again when it is gone"):
            Plan.make(cluster, desired)
        # The namespace controller looks into a namespace seconds after its deletion.
        wait_for(cluster, "v1/Namespace", name, None, _is_held, Deadline(60), what=name)
        with pytest.raises(TenantryError, match=f"{name}: not gone within 1 s: .*example.com/hold"):
            wait_gone(cluster, "v1/Namespace", name, None, Deadline(1), what=name)
    finally:
        holder["metadata"].pop("finalizers")
        cluster.apply(holder)
    wait_gone(cluster, "v1/Namespace", name, None, Deadline(60), what=name)


def _is_held(namespace: dict[str, Any]) -> bool:
    conditions = namespace["status"].get("conditions") or []
    return any(c["type"] == "NamespaceFinalizersRemaining" and c["status"] == "True" for c in conditions)


def test_two_hundred_objects_take_seconds(cluster: Cluster, namespace: str) -> None:
    desired = [_config_map(namespace, f"c{number}", a="1") for number in range(200)]
    started = time.monotonic()
    Plan.make(cluster, desired).execute()
    applied = time.monotonic() - started
    _nothing_to_do(cluster, desired)
    started = time.monotonic()
    assert not Plan.make(cluster, desired).changed
    unchanged = time.monotonic() - started
    print(f"200 objects: {applied:.2f} s to make, {unchanged:.3f} s to find unchanged")
    assert applied < 10  # one object after the other takes 140 s
    assert unchanged < 1
