"""What events of audit logs say about tenants."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._audit import events as _audit_rows


def _event(verb: str, resource: str, name: str = "", space: str = "", **more: Any) -> dict[str, Any]:
    reference = {"resource": resource, "name": name, "namespace": space, "subresource": more.pop("below", None)}
    return {
        "verb": verb,
        "user": {"username": more.pop("user", "system:admin")},
        "objectRef": {key: value for key, value in reference.items() if value},
        "responseStatus": {"code": more.pop("code", 200)},
        "requestReceivedTimestamp": more.pop("time", "2026-04-01T12:00:00.123456Z"),
        "userAgent": "kubectl/v1.34",
        **more,
    }


def _told(event: dict[str, Any], cluster: str = "hub") -> tuple[str, ...] | None:
    row = _audit_rows.row(cluster, event)
    return row and (row["action"], row["kind"], row["tenant"], row["name"])


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (_event("patch", "namespaces", "tenant-a", code=201), ("created", "tenant", "a", "a")),
        (_event("patch", "configmaps", "tenant", "tenant-a"), ("changed", "budget", "a", "a")),
        (_event("patch", "namespaces", "a-b--c", code=201), ("created", "vcluster", "a-b", "a-b/c")),
        (_event("delete", "namespaces", "a--b-c"), ("deleted", "vcluster", "a", "a/b-c")),
        (_event("patch", "resourcequotas", "slice", "a--b"), ("changed", "slice", "a", "a/b")),
        (_event("create", "serviceaccounts", "bob", "tenant-a", code=201), ("created", "user", "a", "bob")),
        (
            _event("delete", "rolebindings", "tenantry:bob:viewer", "tenant-a"),
            ("withdrawn", "role", "a", "bob: viewer"),
        ),
        (
            _event("patch", "clusterrolebindings", "tenantry:a:bob:operator", code=201),
            ("granted", "role", "a", "bob: operator"),
        ),
        (_event("delete", "secrets", "member-edge", "tenantry-system"), ("deleted", "member", None, "edge")),
        (_event("get", "secrets", "join-token", "a--b"), ("get", "access", "a", "a/b secrets/join-token")),
        (_event("list", "secrets"), ("list", "access", None, "secrets of all namespaces")),
        (
            _event("get", "pods", "server-0", "a--b", below="exec", code=101),
            ("exec", "access", "a", "a/b pods/server-0"),
        ),
        (_event("create", "serviceaccounts", "bob", "tenant-a", code=403), None),
        (_event("create", "serviceaccounts", "default", "tenant-a", user="system:kube-controller-manager"), None),
        (_event("create", "pods", "web", "a--b", user="system:serviceaccount:a--b:syncer", code=201), None),
        (_event("delete", "pods", "web", "shop"), None),
        (_event("delete", "namespaces", "shop"), None),
    ],
)
def test_on_a_host(event: dict[str, Any], told: tuple[str, ...] | None) -> None:
    assert _told(event) == told


ADMINISTRATOR = "system:serviceaccount:tenantry-system:platform-admin"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            _event("create", "serviceaccounts", "bob", "tenantry-system", below="token", code=201),
            ("issued", "credential", "a", "a/b bob"),
        ),
        (
            _event("delete", "secrets", "bob-laptop-1234abcd", "tenantry-system", user="tenantry:platform"),
            ("revoked", "credential", "a", "a/b bob-laptop-1234abcd"),
        ),
        (
            _event("create", "serviceaccounts", "platform-admin", "tenantry-system", below="token", code=201),
            ("issued", "access", "a", "a/b platform-admin"),
        ),
        (_event("get", "secrets", "db", "shop", user=ADMINISTRATOR), ("get", "access", "a", "a/b secrets/shop/db")),
        (_event("get", "secrets", "db", "shop", user="system:serviceaccount:tenantry-system:bob"), None),
    ],
)
def test_in_a_virtual_cluster(event: dict[str, Any], told: tuple[str, ...] | None) -> None:
    assert _told(event, "a--b") == told


def test_snapshots_are_known_by_their_commands() -> None:
    uri = "/api/v1/namespaces/a--b/pods/server-0/exec?" + urlencode(
        [("command", word) for word in ("/bin/sh", "-c", "…", "sh", "/var/lib/rancher/k3s", ".snapshot-monday")]
    )
    taken = _event("get", "pods", "server-0", "a--b", below="exec", code=101, requestURI=uri)
    assert _told({**taken, "userAgent": "tenantry.kube"}) == ("taken", "snapshot", "a", "a/b monday")
    assert _told(taken) == ("exec", "access", "a", "a/b pods/server-0")


def test_on_whose_behalf_the_platform_acts() -> None:
    event = _event("delete", "namespaces", "a--b", user="system:serviceaccount:tenantry-system:tenantry-platform")
    row = _audit_rows.row("edge", {**event, "userAgent": "tenantry.kube for system:admin"})
    assert row
    assert (row["actor"], row["requested_by"], row["tool"]) == (
        event["user"]["username"],
        "system:admin",
        "tenantry.kube",
    )


def test_repeated_accesses_are_one_row_and_deletions_never() -> None:
    minutes = [f"2026-04-01T12:{minute:02}:00Z" for minute in (0, 9, 18, 40)]
    entered = [_event("get", "secrets", "x", "a--b", time=minute) for minute in minutes]
    deleted = [_event("delete", "namespaces", "a--b", time=minute) for minute in minutes]
    rows = _audit_rows.together(row for event in [*deleted, *entered] if (row := _audit_rows.row("hub", event)))
    assert [(row["time"][14:16], row["count"]) for row in rows if row["kind"] == "access"] == [("00", 3), ("40", 1)]
    assert [row["count"] for row in rows if row["kind"] == "vcluster"] == [1, 1, 1, 1]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
