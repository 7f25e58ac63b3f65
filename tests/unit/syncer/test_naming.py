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


def test_no_two_objects_share_a_name():
    found = [naming.host_name(*one) for one in CRAFTED]
    assert len(set(found)) == len(CRAFTED)


@pytest.mark.parametrize(("namespace", "name"), CRAFTED)
def test_a_name_is_a_label_of_dns_and_ends_in_its_hash(namespace, name):
    made = naming.host_name(namespace, name)
    assert LABEL.fullmatch(made)
    assert len(made) <= 63
    assert made.endswith("-" + naming.digest(f"{namespace}/{name}", 16))


def test_a_name_is_the_same_after_a_restart():
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
def test_label_keys(key, host):
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
def test_no_label_of_a_tenant_is_one_that_the_platform_looks_at(key):
    labels = naming.pod_labels("shop", {key: "tenantry.kube", "app": "web"})
    prefixed = {one for one in labels if one.startswith(naming.TENANT_LABELS)}
    assert set(labels) - prefixed == {naming.NAMESPACE_LABEL}
    assert labels[naming.NAMESPACE_LABEL] == naming.digest("shop")
    assert all(QUALIFIED.fullmatch(one.removeprefix(naming.TENANT_LABELS)) for one in prefixed)
    assert len(prefixed) == 2


def test_long_label_keys_stay_apart():
    keys = [f"{'a' * 54}{one}.example.com/name" for one in "bcd"] + ["a/b", "a_b"]
    assert len({naming.label_key(key) for key in keys}) == len(keys)


def test_selectors_select_by_the_same_keys():
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


def test_a_copy_tells_what_it_is_of():
    copy = {"metadata": naming.metadata({"tenantry.dev/tenant": "payments"}, "pod", virtual())}
    assert naming.virtual_key(copy) == ("shop", "web")
    assert naming.virtual_uid(copy) == "u-1"
    assert copy["metadata"]["labels"] == {
        "tenantry.dev/tenant": "payments",
        naming.MANAGED_BY: "tenantry-syncer",
        naming.COMPONENT: "pod",
    }


@pytest.mark.parametrize("field", ["ownerReferences", "finalizers", "annotations", "labels", "generateName"])
def test_nothing_of_the_tenants_metadata_is_taken_over(field):
    crafted = naming.metadata({}, "pod", virtual(**{field: {naming.MANAGED_BY: "tenantry.kube", "evil": "x"}}))
    assert crafted == naming.metadata({}, "pod", virtual())


@pytest.mark.parametrize("labels", [{}, {naming.MANAGED_BY: "tenantry.kube"}])
def test_what_the_syncer_did_not_make_is_no_copy(labels):
    foreign = {"metadata": {"name": "join-token", "labels": labels, "annotations": {naming.NAME: "x"}}}
    assert naming.virtual_key(foreign) is None


def test_every_pair_of_short_names():
    """Names of these letters, split anywhere between namespace and name."""
    parts = ["".join(one) for length in (1, 2, 3) for one in itertools.product("ab-", repeat=length)]
    found = {naming.host_name(namespace_object, name) for namespace_object in parts for name in parts}
    assert len(found) == len(parts) ** 2


def test_names_are_replaced_as_a_whole():
    given = {"a--b": "ns", "web": "w.1"}
    assert (
        naming.replace_names('"web" web-1 xweb web.x a--b/web a--b-c', given) == '"w.1" web-1 xweb w.1.x ns/w.1 a--b-c'
    )
