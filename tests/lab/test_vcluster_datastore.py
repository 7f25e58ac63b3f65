"""A virtual cluster whose datastore is a database elsewhere: what is written of that, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, call_module, everything, ran, until

TENANT = "archive"
NAMESPACE = f"{TENANT}--dev"
PASSWORD = "correct-horse-battery"
SECRET_PART = "c3RhcGxl"
KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET_PART}\n-----END PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
ENDPOINT = f"postgres://kine:{PASSWORD}@db.example.com/dev"
GIVEN = {"endpoint": ENDPOINT, "ca": CERTIFICATE, "certificate": CERTIFICATE, "key": KEY}


@pytest.fixture
def hub(platform: Path) -> Iterator[Path]:
    """A hub without nodes: no server gets as far as to ask for its database."""
    tenant = {"kubeconfig": platform, "tenant": TENANT}
    made = call_module("tenant_quota", **tenant, quota={"vclusters": 2})
    assert not made.failed, made.msg
    yield platform
    for name in ("dev", "stage"):
        call_module("vcluster", **tenant, name=name, state="absent")
    assert not call_module("tenant_quota", **tenant, state="absent").failed


def vcluster(hub: Path, datastore: dict | None = None, *, check: bool = False, **more: Any) -> ModuleResult:
    options = {"tenant": TENANT, "name": "dev", "mode": "dedicated", "version": "v1.37.2+k3s1", "wait": False, **more}
    done = call_module("vcluster", kubeconfig=hub, check=check, diff=True, datastore=datastore, **options)
    assert PASSWORD not in done.text
    assert SECRET_PART not in done.text
    return done


def test_the_endpoint_is_given_to_k3s_and_to_nobody_else(hub: Path) -> None:
    assert vcluster(hub, GIVEN, check=True).changed
    made = vcluster(hub, GIVEN)
    assert not made.failed, made.msg
    assert not vcluster(hub, GIVEN).changed
    for line in everything(hub):
        kind, name, namespace = line.split()
        if namespace != NAMESPACE or kind == "Secret":
            continue
        assert PASSWORD not in ran(hub, "-n", namespace, "get", kind, name, "-o", "json")
    assert PASSWORD not in ran(hub, "get", "namespace", NAMESPACE, "-o", "json")
    assert not json.loads(ran(hub, "-n", NAMESPACE, "get", "persistentvolumeclaims", "-o", "json"))["items"]
    shown = call_module("vcluster_info", kubeconfig=hub, tenant=TENANT)
    assert [one["datastore"] for one in shown.data["vclusters"]] == ["postgres://db.example.com:5432/dev"]


def test_another_database_is_refused_and_another_password_is_not(hub: Path) -> None:
    assert not vcluster(hub, GIVEN).failed
    for other in (None, {"endpoint": ENDPOINT.replace("db.", "db2.")}):
        refused = vcluster(hub, other)
        assert refused.failed
        assert "datastore: cannot be changed from postgres://db.example.com:5432/dev to" in refused.msg
    taken = vcluster(hub, GIVEN, name="stage")
    assert f"postgres://db.example.com:5432/dev is already the database of {NAMESPACE}" in taken.msg
    changed = vcluster(hub, {**GIVEN, "endpoint": ENDPOINT.replace("kine", "other")})
    assert not changed.failed, changed.msg
    assert {action["name"] for action in changed.data["actions"]} == {"server", "server-config"}


def test_snapshots_are_left_to_the_database(hub: Path, tmp_path: Path) -> None:
    assert not vcluster(hub, GIVEN).failed
    common = {"kubeconfig": hub, "directory": tmp_path, "passphrase": "tell nobody about it", "tenant": TENANT}
    refused = call_module("vcluster_snapshot", **common, name="dev")
    assert refused.failed
    assert "is external (postgres://db.example.com:5432/dev)" in refused.msg
    assert PASSWORD not in refused.text


def test_servers_that_cannot_start_are_all_recreated(hub: Path) -> None:
    """Without a node none can. A StatefulSet would wait for them for ever."""
    options = {"servers": 3, "wait": True, "wait_timeout": 5}
    makes = "-o=jsonpath={.items[*].metadata.labels.controller-revision-hash}"
    pods = ("-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=server", makes)
    assert vcluster(hub, GIVEN, **options).failed
    before = until(lambda: found if len(found := ran(hub, *pods).split()) == 3 else None)
    assert vcluster(hub, {**GIVEN, "endpoint": ENDPOINT.replace("kine", "other")}, **options).failed
    after = until(lambda: found if len(found := ran(hub, *pods).split()) == 3 else None)
    assert len(set(after)) == 1
    assert not set(after) & set(before)
