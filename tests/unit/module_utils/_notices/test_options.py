"""The options of the module notices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import KINDS

from .facts import notice, options, target

URL = "https://hooks.example.com/T0/secret"
MAIL = {"type": "mail", "to": ["ops@example.com"]}


@pytest.mark.parametrize(
    ("given", "smtp", "error"),
    [
        ({"url": None}, None, r"targets\.operations\.url: is missing, which type webhook requires\. Set it"),
        ({"type": "mail"}, {}, r"targets\.operations\.to: is missing, which type mail requires"),
        ({**MAIL, "url": URL}, {}, r"targets\.operations\.url: is no option of type mail\. Omit it"),
        ({"url": URL, "to": ["a@example.com"]}, None, r"\.to: is no option of type webhook"),
        ({"url": URL, "type": "slack", "token": "secret"}, None, r"\.token: is no option of type slack"),
        ({"url": URL, "token": "secret\r\nX-Other: 1"}, None, r"\.token: has characters"),
        ({"url": "ftp://hooks.example.com/secret"}, None, r"\.url: is not a URL that begins with https:// or http://"),
        ({"url": "https://hooks.example.com/a secret"}, None, r"\.url: is not a URL"),
        ({"url": "https://hooks.example.com:x/secret"}, None, r"\.url: is not a URL"),
        ({"url": "https:///secret"}, None, r"\.url: is not a URL"),
        ({"url": "https://ops:secret%C5%82@a.example"}, None, r"\.url: its user or password has .* beyond Latin-1"),
        ({"url": "https://ops:secret%0A@a.example"}, None, r"\.url: its user or password has .* beyond Latin-1"),
        (
            {"url": "http://hooks.slack.com/secret", "type": "slack"},
            None,
            r"\.url: is not a URL that begins with https:",
        ),
        ({"url": URL, "name": "Ops Team"}, None, r'targets\.name: "Ops Team" is not a valid name'),
        ({"url": URL, "tenant": "Payments"}, None, r"targets\.operations\.tenant: "),
        (
            {"url": URL, "tenant": "payments", "kinds": ["member"]},
            None,
            r"\.kinds: member is for targets without tenant",
        ),
        ({"url": URL, "digest": "1080"}, None, r"\.digest: \"1080\" is not a time of day\. Use one in quotes, such as"),
        (
            {"url": URL, "quiet_hours": ["nights"]},
            None,
            r"targets\.operations\.quiet_hours: \"nights\" has an unknown day",
        ),
        ({"url": URL, "timezone": "Mars"}, None, r"targets\.operations\.timezone: \"Mars\" is not a known time zone"),
        (MAIL, None, r"targets\.operations\.type: mail needs a server\. Set smtp"),
        ({**MAIL, "to": ["a@example.com\nBcc: b@example.com"]}, {}, r"\.to: .* is not a mail address"),
        ({**MAIL, "to": ["Ops <ops@example.com>"]}, {}, r"\.to: .* is not a mail address"),
        (MAIL, {"from": "tenantry"}, r"smtp\.from: \"tenantry\" is not a mail address"),
        (MAIL, {"host": "mail example"}, r"smtp\.host: "),
        (MAIL, {"port": 0}, r"smtp\.port: 0 is not a port"),
        (MAIL, {"username": "x"}, r"smtp: username and password go together"),
        (MAIL, {"username": "x", "password": "secretł"}, r"smtp: username or password has characters beyond ASCII"),
        (MAIL, {"username": "ł", "password": "secret"}, r"smtp: username or password has characters beyond ASCII"),
        (MAIL, {"username": "x", "password": "secret", "security": "none"}, r"smtp\.security: none would send"),
        (MAIL, {"ca_path": "/ca.pem", "security": "none"}, r"smtp\.ca_path: is of no use"),
    ],
)
def test_invalid_options_are_named_without_secrets(given: dict, smtp: dict | None, error: str) -> None:
    with pytest.raises(TenantryError, match=error) as caught:
        options(given, smtp=smtp)
    assert "secret" not in str(caught.value)


def test_names_and_thresholds() -> None:
    with pytest.raises(TenantryError, match='targets: "operations" is given twice'):
        options({"url": URL}, {"url": URL})
    with pytest.raises(TenantryError, match=r"thresholds\.ttl: \"soon\" is not a duration"):
        options({"url": URL}, ttl="soon")


def test_operations_get_everything_and_tenants_what_is_theirs() -> None:
    mine, other, fleet = notice(), notice(tenant="research"), notice(tenant="", keys=("member edge",))
    assert target().kinds == frozenset(KINDS)
    assert all(map(target().wants, (mine, other, fleet)))
    assert [target(tenant="payments").wants(one) for one in (mine, other, fleet)] == [True, False, False]
    assert not target(kinds=["quota"]).wants(mine)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "quiet"),
    [("2026-11-30T18:59", False), ("2026-11-30T19:00", True), ("2026-12-01T05:59", True), ("2026-12-01T06:00", False)],
)
def test_quiet_hours_are_of_the_time_zone(time: str, quiet: bool) -> None:
    assert target(quiet_hours=["mon-fri 20:00-07:00"], timezone="Europe/Berlin").is_quiet(at(time)) == quiet


@pytest.mark.parametrize(
    ("time", "day"),
    [("2026-11-30T06:59", "2026-11-29"), ("2026-11-30T07:00", "2026-11-30"), ("2026-11-30T23:30", None)],
)
def test_day_of_a_digest(time: str, day: str | None) -> None:
    """At 23:30 in UTC, it is the next day in Berlin, but not yet eight."""
    found: Any = target(digest="08:00", timezone="Europe/Berlin").day_of_digest(at(time))
    assert found == (day or "2026-11-30")
    assert target().day_of_digest(at(time)) == ""


def test_port_follows_security() -> None:
    found = [options({**MAIL}, smtp={"security": one}).mail for one in ("starttls", "tls", "none")]
    assert [one.port for one in found if one] == [587, 465, 25]
