from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers import config_maps_and_secrets
from tenantry_syncer.controllers.config_maps_and_secrets import ReferenceIndex, References
from tenantry_syncer.kube.resources import CONFIG_MAP, LINKS, POD, SECRET
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG, container, pod

A, B = (SECRET, "shop", "a"), (CONFIG_MAP, "shop", "b")


def test_of_pod_returns_every_reference():
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
    found = config_maps_and_secrets.of_pod(pod(spec))
    assert {name for kind, _space, name in found if kind is SECRET} == {f"s{one}" for one in range(6)}
    assert {name for kind, _space, name in found if kind is LINKS} == {"services"}
    assert {name for kind, _space, name in found if kind is CONFIG_MAP} == {f"c{one}" for one in range(1, 5)}
    assert {namespace_object for _kind, namespace_object, _name in found} == {"shop"}


def test_of_ingress_returns_tls_secrets():
    ingress = {"metadata": {"namespace": "shop"}, "spec": {"tls": [{"secretName": "a"}, {"hosts": ["x"]}]}}
    assert config_maps_and_secrets.of_ingress(ingress) == {A}


def test_index_tracks_users():
    index = ReferenceIndex()
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
def test_host_secret_has_an_inert_type(given, made):
    notes = {"kubernetes.io/service-account.name": "syncer"}
    metadata = {"name": "a", "namespace": "shop", "uid": "u", "labels": {"x": "y"}, "annotations": notes}
    secret = {"metadata": metadata, "type": given, "data": {"k": "dg=="}, "immutable": True}
    host_object = References(SyncContext(CONFIG, None, None), ReferenceIndex(), None)._host_object(SECRET, secret)
    assert (host_object["type"], host_object["data"]) == (made, {"k": "dg=="})
    assert set(host_object) == {"apiVersion", "kind", "metadata", "data", "type"}
    assert host_object["metadata"]["annotations"] == {naming.NAMESPACE: "shop", naming.NAME: "a", naming.UID: "u"}
    assert not {"x"} & set(host_object["metadata"]["labels"])


def test_secret_is_read_only_when_used_and_changed():
    virtual = "/api/v1/namespaces/shop/secrets/a"
    host_secrets = f"/api/v1/namespaces/{CONFIG.namespace}/secrets"
    host_object = f"{host_secrets}/{naming.host_name('shop', 'a')}"

    async def scenario(store, api):
        index = ReferenceIndex()
        it = References(SyncContext(CONFIG, api, api), index, None)

        def have(version: str, value: str) -> None:
            metadata = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": version}
            store.objects[virtual] = {"metadata": metadata, "type": "Opaque", "data": {"k": value}}
            it._seen[A] = int(version)

        have("1", "b25l")
        await it.reconcile(*A)
        assert store.reads == [], "no pod uses it"
        index.update(POD, ("shop", "one"), {A})
        for _time in range(2):
            await it.reconcile(*A)
        assert store.reads == [virtual]
        assert store.writes == [f"POST {host_object}"]
        assert store.objects[host_object]["data"] == {"k": "b25l"}
        have("2", "dHdv")
        for _time in range(2):
            await it.reconcile(*A)
        assert store.reads == [virtual, virtual, host_object]
        assert store.objects[host_object]["data"] == {"k": "dHdv"}

    with_store(scenario)
