"""What events of audit logs say about tenants."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._audit import events


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
    row = events.row(cluster, event)
    return row and (row["action"], row["kind"], row["tenant"], row["name"])


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (_event("patch", "namespaces", "tenant-a", code=201), ("created", "tenant", "a", "a")),
        (_event("patch", "configmaps", "tenant", "tenant-a"), ("changed", "quota", "a", "a")),
        (
            _event("patch", "configmaps", "tenant", "tenant-a", requestURI="/api?fieldManager=tenantry.kube-promises"),
            ("changed", "promise", "a", "a"),
        ),
        (_event("patch", "namespaces", "a-b--c", code=201), ("created", "vcluster", "a-b", "a-b/c")),
        (_event("delete", "namespaces", "a--b-c"), ("deleted", "vcluster", "a", "a/b-c")),
        (_event("patch", "resourcequotas", "vcluster", "a--b"), ("changed", "resources", "a", "a/b")),
        (_event("create", "serviceaccounts", "bob", "tenant-a", code=201), ("created", "user", "a", "bob")),
        (
            _event("delete", "rolebindings", "tenantry:bob:viewer", "tenant-a"),
            ("withdrawn", "role", "a", "bob: viewer"),
        ),
        (
            _event("patch", "clusterrolebindings", "tenantry:a:bob:platform_operator", code=201),
            ("granted", "role", "a", "bob: platform_operator"),
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


PLATFORM = {"username": "tenantry:platform", "groups": ["system:masters", "system:authenticated"]}
MEMBER = {"username": "system:serviceaccount:tenantry-system:tenantry-platform"}
ADMIN = {"username": "system:admin", "groups": ["system:masters"]}


def _row(cluster: str, event: dict[str, Any], *, manages: bool = False) -> dict[str, Any]:
    row = events.row(cluster, event, lambda _user: manages)
    assert row
    return row


def test_snapshots_are_known_by_their_commands() -> None:
    uri = "/api/v1/namespaces/a--b/pods/server-0/exec?" + urlencode(
        [("command", word) for word in ("/bin/sh", "-c", "…", "sh", "/var/lib/rancher/k3s", ".snapshot-monday")]
    )
    taken = _event("get", "pods", "server-0", "a--b", below="exec", code=101, requestURI=uri)
    ours = {**taken, "userAgent": "tenantry.kube"}
    assert _row("hub", ours, manages=True)["kind"] == "snapshot"
    assert _row("hub", ours, manages=True)["name"] == "a/b monday"
    assert _row("hub", ours)["kind"] == "access"
    assert _told(taken) == ("exec", "access", "a", "a/b pods/server-0")


@pytest.mark.parametrize(
    ("cluster", "user", "more", "requested_by"),
    [
        ("edge", MEMBER, {}, "system:admin"),
        ("a--b", PLATFORM, {}, "system:admin"),
        ("hub", ADMIN, {}, None),
        ("edge", ADMIN, {}, None),
        ("edge", {"username": "bob"}, {}, None),
        ("edge", PLATFORM, {}, None),
        ("a--b", MEMBER, {}, None),
        ("a--b", ADMIN, {}, None),
        ("a--b", {"username": "system:serviceaccount:tenantry-system:alice"}, {}, None),
        # A certificate that was signed inside has the name, but never the group.
        ("a--b", {"username": "tenantry:platform", "groups": ["system:authenticated"]}, {}, None),
        ("edge", MEMBER, {"impersonatedUser": {"username": "bob"}}, None),
        ("a--b", PLATFORM, {"impersonatedUser": {"username": "bob"}}, None),
    ],
)
def test_on_whose_behalf_the_platform_acts(
    cluster: str, user: dict[str, Any], more: dict[str, Any], requested_by: str | None
) -> None:
    if "--" in cluster:
        event = _event("delete", "secrets", "bob-laptop-1234abcd", "tenantry-system", **more)
    else:
        event = _event("delete", "namespaces", "a--b", **more)
    row = _row(cluster, {**event, "user": user, "userAgent": "tenantry.kube for system:admin"}, manages=True)
    prefix = "system:serviceaccount:tenantry-system:" if "--" in cluster else ""
    assert row["actor"] == user["username"].removeprefix(prefix)
    assert row["requested_by"] == requested_by
    assert row["platform"] == (requested_by is not None or (cluster, user) == ("hub", ADMIN))


@pytest.mark.parametrize("manages", [True, False])
def test_an_access_is_the_platforms_by_its_credential_only(manages: bool) -> None:
    event = {**_event("get", "secrets", "join-token", "a--b"), "userAgent": "tenantry.kube"}
    assert events.is_platforms(_row("hub", event, manages=manages)) == manages
    for cluster in ("edge", "a--b"):
        space = "a--b" if cluster == "edge" else "shop"
        event = {**_event("get", "secrets", "x", space, user="system:admin"), "userAgent": "tenantry.kube"}
        assert not events.is_platforms(_row(cluster, event, manages=True))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"username": "system:node:x"}, "system:node:x"),
        ({"username": "system:kube-scheduler", "groups": ["system:authenticated"]}, "system:kube-scheduler"),
        ({"username": "system:serviceaccount:kube-system:x"}, "system:serviceaccount:kube-system:x"),
        ({"username": "bob", "groups": ["system:masters", "ops"]}, "bob (groups system:masters, ops)"),
        ({"username": "bob", "uid": "1", "extra": {"scopes": ["a"]}}, "bob (uid 1; extra scopes)"),
    ],
)
def test_who_acts_as_somebody_else_is_reported_with_both(other: dict[str, Any], told: str) -> None:
    event = _event("delete", "namespaces", "a--b", impersonatedUser=other)
    row = _row("hub", event)
    assert (row["actor"], row["acted_as"]) == ("system:admin", told)


@pytest.mark.parametrize("name", ["system:node:x", "system:kube-controller-manager", "system:serviceaccount:x--y:z"])
def test_inside_nobody_is_left_out_by_name(name: str) -> None:
    """Its administrators sign certificates and make accounts of any name."""
    event = _event("create", "serviceaccounts", "bob", "tenantry-system", below="token", code=201, user=name)
    assert _row("a--b", event)["actor"] == name


def test_the_playbook_leaves_out_what_machines_did_and_not_who_acts_as_one() -> None:
    playbook = Path(__file__).resolve().parents[4] / "playbooks/audit.yml"
    pattern = yaml.safe_load(playbook.read_text())[0]["vars"]["audit_machines"]

    def line(user: str, **more: Any) -> str:
        head = {"kind": "Event", "requestURI": more.pop("uri", "/"), "verb": "get", "user": {"username": user}}
        return json.dumps({**head, **more}, separators=(",", ":"))

    machines = [line("system:node:x"), line("system:apiserver"), line("system:serviceaccount:a--b:syncer")]
    people = [
        line("system:admin"),
        line("system:admin", impersonatedUser={"username": "system:node:x"}),
        line("system:admin", requestObject={"user": {"username": "system:apiserver"}}),
        line("system:admin", uri='/?x="user":{"username":"system:apiserver"'),
        line("system:kube-intruder"),
        line("system:serviceaccount:kube-public:x"),
    ]
    lines = "\n".join([*machines, *people]) + "\n"
    left = subprocess.run(["grep", "-hvE", pattern], input=lines, capture_output=True, text=True, check=True)
    assert left.stdout.splitlines() == people


def test_a_name_has_no_line_of_its_own() -> None:
    event = _event("delete", "secrets", "bob-1", "tenantry-system", user="eve\n2026  bob")
    assert _row("a--b", event)["actor"] == "eve 2026 bob"


def test_tokens_of_machines_accounts_are_reported() -> None:
    event = _event("create", "serviceaccounts", "node-controller", "kube-system", below="token", code=201)
    assert _told(event) == ("token", "access", None, "serviceaccounts/kube-system/node-controller")
    assert _told({**event, "user": {"username": "system:kube-controller-manager"}}) is None


def test_repeated_accesses_are_one_row_and_deletions_never() -> None:
    minutes = [f"2026-04-01T12:{minute:02}:00Z" for minute in (0, 9, 18, 40)]
    entered = [_event("get", "secrets", "x", "a--b", time=minute) for minute in minutes]
    deleted = [_event("delete", "namespaces", "a--b", time=minute) for minute in minutes]
    rows = events.together(row for event in [*deleted, *entered] if (row := events.row("hub", event)))
    assert [(row["time"][14:16], row["count"]) for row in rows if row["kind"] == "access"] == [("00", 3), ("40", 1)]
    assert [row["count"] for row in rows if row["kind"] == "vcluster"] == [1, 1, 1, 1]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
