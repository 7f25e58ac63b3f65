"""Names, labels and namespaces."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError


@pytest.mark.parametrize("name", ["a", "dev", "payments-2", "x" * 63])
def test_good_names(name: str) -> None:
    assert naming.check_name(name, "tenant") == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "is empty"),
        ("Dev", "for example dev"),
        ("a_b", "for example a-b"),
        ("-a", "for example a"),
        ("a-", "for example a"),
        ("a--b", "contains `--`.*for example a-b"),
        ("a.b", "for example a-b"),
        ("../etc", "for example etc"),
        ("x" * 64, "has 64 characters, at most 63"),
        ("ünï", "is not a valid name"),
        ("аdmin", "is not a valid name"),  # a Cyrillic letter
        ("a\x00b", "is not a valid name"),
        ("a\n", "is not a valid name"),
        ("83", "starting with a letter"),  # what YAML makes of 0123
        ("1e3", "starting with a letter"),
        ("{{ x }}", "is not a valid name"),
        ("False", "Quote it"),  # what Ansible makes of no
        (False, "Quote it"),
        (None, "Quote it"),
        (1, "Quote it"),
        ("default", "is reserved"),
        ("hub", "is reserved"),
        ("tenantry-system", "is reserved"),
    ],
)
def test_bad_names(name: object, rule: str) -> None:
    with pytest.raises(TenantryError, match=rule) as caught:
        naming.check_name(name, "tenants[0].name")
    text = str(caught.value)
    assert text.startswith("tenants[0].name: ")
    assert text.isprintable()
    assert text.isascii()


def test_two_tenants_cannot_share_a_namespace() -> None:
    assert naming.vcluster_namespace("a-b", "c") != naming.vcluster_namespace("a", "b-c")


def test_composed_length() -> None:
    assert len(naming.vcluster_namespace("t" * 30, "v" * 31)) == 63
    with pytest.raises(TenantryError, match=r"would have 64 characters, at most 63 are allowed. Shorten by 1"):
        naming.vcluster_namespace("t" * 31, "v" * 31)
    assert naming.tenant_namespace("t" * 56)
    with pytest.raises(TenantryError, match="Shorten by 1"):
        naming.tenant_namespace("t" * 57)


def test_selector_finds_what_labels_mark() -> None:
    marked = naming.labels("user", tenant="payments", user="alice")
    wanted = dict(part.split("=") for part in naming.selector("user", tenant="payments").split(","))
    assert wanted.items() <= marked.items()
    assert naming.selector() == "app.kubernetes.io/managed-by=tenantry.kube"


def test_did_you_mean() -> None:
    assert naming.did_you_mean("develper", ["viewer", "developer", "admin"]) == " (did you mean developer?)"
    assert naming.did_you_mean("xyz", ["viewer", "developer", "admin"]) == ""


def test_is_ours() -> None:
    assert naming.is_ours({"metadata": {"labels": naming.labels("tenant")}})
    assert not naming.is_ours({"metadata": {"labels": None}})
    assert not naming.is_ours({"metadata": {}})
