from __future__ import annotations

import itertools
import re

import pytest
from tenantry_syncer import naming

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
QUALIFIED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
CRAFTED = [
    ("c", "a-x-b"),
    ("b-x-c", "a"),
    ("b-c", "a"),
    ("c", "a-b"),
    ("c", "a.b"),
    ("shop", "join-token"),
    ("shop", "data-server-0"),
    ("a" * 63, "b" * 63),
    ("a" * 63, "b" * 62 + "c"),
    ("shop", "n" * 253),
    ("shop", "n" * 252 + "m"),
    ("shop", "a.-b.c"),
    ("s", "x" * 45 + "." * 7 + "y"),
    ("1", "0"),
]


def test_host_name_is_unique():
    found = [naming.host_name(*one) for one in CRAFTED]
    assert len(set(found)) == len(CRAFTED)


@pytest.mark.parametrize(("namespace", "name"), CRAFTED)
def test_host_name_is_dns_label_with_hash(namespace, name):
    made = naming.host_name(namespace, name)
    assert LABEL.fullmatch(made)
    assert len(made) <= 63
    assert made.endswith("-" + naming.digest(f"{namespace}/{name}", 16))


def test_host_name_is_stable():
    assert naming.host_name("kube-system", "coredns") == "coredns-kube-system-1444b0647cdf399b"


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("app", "x.tenantry.dev/app"),
        ("k8s-app", "x.tenantry.dev/k8s-app"),
        ("k" * 63, "x.tenantry.dev/" + "k" * 63),
        ("app.kubernetes.io/name", "x.tenantry.dev/app.kubernetes.io_name-71dafa31"),
    ],
)
def test_label_key(key, host):
    assert naming.label_key(key) == host


@pytest.mark.parametrize(
    "key",
    [
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/component",
        "tenantry.dev/tenant",
        "tenantry.dev/virtual-namespace",
        "pod-security.kubernetes.io/enforce",
        "x.tenantry.dev/app",
        f"{'a' * 60}.{'b' * 60}.example.com/{'n' * 63}",
    ],
)
def test_label_key_has_no_prefix_of_the_platform(key):
    labels = naming.pod_labels("shop", {key: "tenantry.kube", "app": "web"})
    prefixed = {one for one in labels if one.startswith(naming.TENANT_LABELS)}
    assert set(labels) - prefixed == {naming.NAMESPACE_LABEL}
    assert labels[naming.NAMESPACE_LABEL] == naming.digest("shop")
    assert all(QUALIFIED.fullmatch(one.removeprefix(naming.TENANT_LABELS)) for one in prefixed)
    assert len(prefixed) == 2


def test_label_key_long_keys_are_unique():
    keys = [f"{'a' * 54}{one}.example.com/name" for one in "bcd"] + ["a/b", "a_b"]
    assert len({naming.label_key(key) for key in keys}) == len(keys)


def test_host_selector_uses_label_keys():
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tenantry.dev/tenant", "operator": "Exists"}],
    }
    assert naming.host_selector(selector) == {
        "matchLabels": {"x.tenantry.dev/app": "web"},
        "matchExpressions": [{"key": naming.label_key("tenantry.dev/tenant"), "operator": "Exists"}],
    }
    assert naming.host_selector(None) == {}


def virtual(**metadata):
    return {"metadata": {"name": "web", "namespace": "shop", "uid": "u-1", **metadata}}


def test_metadata_identifies_virtual_object():
    host_object = {"metadata": naming.metadata({"tenantry.dev/tenant": "payments"}, "pod", virtual())}
    assert naming.virtual_key(host_object) == ("shop", "web")
    assert naming.virtual_uid(host_object) == "u-1"
    assert host_object["metadata"]["labels"] == {
        "tenantry.dev/tenant": "payments",
        naming.MANAGED_BY: "tenantry-syncer",
        naming.COMPONENT: "pod",
    }


@pytest.mark.parametrize("field", ["ownerReferences", "finalizers", "annotations", "labels", "generateName"])
def test_metadata_ignores_tenants_metadata(field):
    crafted = naming.metadata({}, "pod", virtual(**{field: {naming.MANAGED_BY: "tenantry.kube", "evil": "x"}}))
    assert crafted == naming.metadata({}, "pod", virtual())


@pytest.mark.parametrize("labels", [{}, {naming.MANAGED_BY: "tenantry.kube"}])
def test_virtual_key_of_foreign_object_is_none(labels):
    foreign = {"metadata": {"name": "join-token", "labels": labels, "annotations": {naming.NAME: "x"}}}
    assert naming.virtual_key(foreign) is None


def test_host_name_short_pairs_are_unique():
    """Names of these letters, divided anywhere between namespace and name."""
    parts = ["".join(one) for length in (1, 2, 3) for one in itertools.product("ab-", repeat=length)]
    found = {naming.host_name(namespace_object, name) for namespace_object in parts for name in parts}
    assert len(found) == len(parts) ** 2


def test_replace_names_only_whole_names():
    given = {"a--b": "ns", "web": "w.1"}
    assert (
        naming.replace_names('"web" web-1 xweb web.x a--b/web a--b-c', given) == '"w.1" web-1 xweb w.1.x ns/w.1 a--b-c'
    )
