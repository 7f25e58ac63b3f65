from __future__ import annotations

import pytest
from tenantry_syncer import names, pods, references
from tenantry_syncer.kinds import CONFIG_MAP, POD, SECRET
from tenantry_syncer.pod_spec import host_pod
from tenantry_syncer.references import Index, References
from tenantry_syncer.sides import Sides

from .object_store import with_store
from .objects import AROUND, CONFIG, container, pod

A, B = (SECRET, "shop", "a"), (CONFIG_MAP, "shop", "b")


def test_every_place_that_names_one():
    env = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}},
    ]
    sources = [{"secret": {"name": "s5"}}, {"configMap": {"name": "c4"}}, {"downwardAPI": {}}]
    spec = {
        "imagePullSecrets": [{"name": "s0"}, {}],
        "initContainers": [container(env=env)],
        "containers": [container(envFrom=[{"secretRef": {"name": "s2"}}, {"configMapRef": {"name": "c2"}}])],
        "ephemeralContainers": [container(envFrom=[{"secretRef": {"name": "s3"}}])],
        "volumes": [
            {"name": "v", "secret": {"secretName": "s4"}},
            {"name": "w", "configMap": {"name": "c3"}},
            {"name": "x", "projected": {"sources": sources}},
        ],
    }
    found = references.of_pod(pod(spec))
    assert {name for kind, _space, name in found if kind is SECRET} == {f"s{one}" for one in range(6)}
    assert {name for kind, _space, name in found if kind is CONFIG_MAP} == {f"c{one}" for one in range(1, 5)}
    assert {space for _kind, space, _name in found} == {"shop"}


def test_ingresses_name_secrets():
    ingress = {"metadata": {"namespace": "shop"}, "spec": {"tls": [{"secretName": "a"}, {"hosts": ["x"]}]}}
    assert references.of_ingress(ingress) == {A}


def test_the_index_knows_users():
    index = Index()
    assert index.update(POD, ("shop", "one"), {A, B}) == {A, B}
    assert index.update(POD, ("shop", "two"), {A}) == {A}
    assert index.update(POD, ("shop", "one"), {A}) == {B}
    assert (index.is_used(A), index.is_used(B)) == (True, False)
    index.update(POD, ("shop", "one"), set())
    assert index.is_used(A)
    assert index.update(POD, ("shop", "two"), set()) == {A}
    assert not index.is_used(A)
    assert not index.is_used((SECRET, "bank", "a"))


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("Opaque", "Opaque"),
        ("kubernetes.io/tls", "kubernetes.io/tls"),
        ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockerconfigjson"),
        ("kubernetes.io/service-account-token", "Opaque"),
        ("bootstrap.kubernetes.io/token", "Opaque"),
        ("example.com/acted-upon", "Opaque"),
    ],
)
def test_copies_of_secrets_act_on_nothing(given, made):
    notes = {"kubernetes.io/service-account.name": "syncer"}
    metadata = {"name": "a", "namespace": "shop", "uid": "u", "labels": {"x": "y"}, "annotations": notes}
    secret = {"metadata": metadata, "type": given, "data": {"k": "dg=="}, "immutable": True}
    copy = References(Sides(CONFIG, None, None), Index())._copy(SECRET, secret)
    assert (copy["type"], copy["data"]) == (made, {"k": "dg=="})
    assert set(copy) == {"apiVersion", "kind", "metadata", "data", "type"}
    assert copy["metadata"]["annotations"] == {names.NAMESPACE: "shop", names.NAME: "a", names.UID: "u"}
    assert not {"x"} & set(copy["metadata"]["labels"])


def test_what_is_in_a_secret_is_read_when_it_is_used_and_has_changed():
    inside = "/api/v1/namespaces/shop/secrets/a"
    copies = f"/api/v1/namespaces/{CONFIG.namespace}/secrets"
    copy = f"{copies}/{names.host_name('shop', 'a')}"

    async def scenario(store, api):
        sides, index = Sides(CONFIG, api, api), Index()

        def have(version: str, value: str) -> None:
            metadata = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": version}
            store.objects[inside] = {"metadata": metadata, "type": "Opaque", "data": {"k": value}}
            sides.inside.cache(SECRET).put({"metadata": metadata})

        it = References(sides, index)
        have("1", "b25l")
        await it.reconcile(*A)
        assert store.reads == [], "nobody uses it"
        index.update(POD, ("shop", "one"), {A})
        for _time in range(2):
            await it.reconcile(*A)
        assert store.reads == [inside]
        assert store.writes == [f"POST {copy}"]
        assert store.objects[copy]["data"] == {"k": "b25l"}
        have("2", "dHdv")
        for _time in range(2):
            await it.reconcile(*A)
        assert store.reads == [inside] * 2
        assert store.objects[copy]["data"] == {"k": "dHdv"}

    with_store(scenario)


def living(asked: dict) -> dict:
    """The pod on the host as it was made of this one, with what the host's own programs added."""
    made = host_pod(asked, AROUND)
    made["metadata"]["annotations"]["cni.example.com/status"] = "up"
    made["metadata"]["labels"]["mesh.example.com/injected"] = "yes"
    made["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})
    return made


def test_nothing_changed():
    asked = pod(labels={"app": "web"})
    assert pods.changes(asked, living(asked), AROUND.config) == {}


def test_changes_of_a_living_pod():
    field = {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}
    before = pod({"containers": [container(env=[field])]}, labels={"app": "web", "old": "1"})
    after = pod(
        {"containers": [container(env=[field], image="web:2")], "activeDeadlineSeconds": 9},
        labels={"app": "shop", "tenantry.dev/tenant": "bank"},
        annotations={"cni.example.com/status": "crafted"},
    )
    body = pods.changes(after, living(before), AROUND.config)
    assert body["spec"] == {"containers": [{"name": "web", "image": "web:2"}], "activeDeadlineSeconds": 9}
    assert body["metadata"]["labels"] == {
        "x.tenantry.dev/app": "shop",
        "x.tenantry.dev/old": None,
        names.label_key("tenantry.dev/tenant"): "bank",
    }
    assert list(body["metadata"]["annotations"].values()) == ["shop"]
    assert all(key.startswith("downward.tenantry.dev/") for key in body["metadata"]["annotations"])


def test_ephemeral_containers_are_added_once():
    asked = pod({"ephemeralContainers": [container(name="debug", env=[])]})
    there = living(asked)
    assert [one["name"] for one in pods._ephemeral(asked, there)] == ["debug"]
    there["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    assert pods._ephemeral(asked, there) == []


@pytest.mark.parametrize(
    ("wanted", "there", "resized"),
    [
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, True),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "1"}}, False),
        ({}, {"limits": {"cpu": "100m"}}, False),
        ({"claims": [{"name": "gpu"}]}, {}, False),
    ],
)
def test_resizes(wanted, there, resized):
    asked, host = pod({"containers": [container(resources=wanted)]}), living(pod())
    host["spec"]["containers"][0]["resources"] = there
    found = pods._resized(asked, host)
    assert found == ([{"name": "web", "resources": wanted}] if resized else [])
