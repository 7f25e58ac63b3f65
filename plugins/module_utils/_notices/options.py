# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the module notices: targets, the mail server, and how long before something notices are due."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._notices.due import Thresholds
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import KINDS, MEMBER, Notice
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import Sleep, periods

WEBHOOK = "webhook"
SLACK = "slack"
TEAMS = "teams"
ALERTMANAGER = "alertmanager"
MAIL = "mail"
TYPES = (WEBHOOK, SLACK, TEAMS, ALERTMANAGER, MAIL)
# Each message of one may have no markup of its own, and goes over the internet.
_ONLY_HTTPS = (SLACK, TEAMS)
_WITH_TOKEN = (WEBHOOK, ALERTMANAGER)

STARTTLS, TLS, NO_TLS = "starttls", "tls", "none"
PORTS = {STARTTLS: 587, TLS: 465, NO_TLS: 25}

THRESHOLDS = {"ttl": "3d", "sleep": "30m", "idle": "14d", "credential": "14d", "certificate": "21d", "snapshot": "7d"}
_SHORTEST, _LONGEST = "1m", "3650d"

TARGET: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True, "choices": list(TYPES)},
    "tenant": {"type": "str"},
    "kinds": {"type": "list", "elements": "str", "choices": list(KINDS)},
    "url": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "to": {"type": "list", "elements": "str"},
    "quiet_hours": {"type": "list", "elements": "str", "default": []},
    "digest": {"type": "str"},
    "timezone": {"type": "str", "default": "UTC"},
}
SMTP: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "from": {"type": "str", "required": True},
    "security": {"type": "str", "choices": list(PORTS), "default": STARTTLS},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
}

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_URL = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True)
class Target:
    """Where notices go: those of one tenant, or of everything."""

    name: str
    type: str
    tenant: str | None
    kinds: frozenset[str]
    quiet: Sleep
    digest: timedelta | None = None  # after midnight
    url: str = ""
    token: str = ""
    ca_path: str | None = None
    to: tuple[str, ...] = ()

    def wants(self, notice: Notice) -> bool:
        return notice.kind in self.kinds and self.tenant in (None, notice.tenant)

    def is_quiet(self, now: datetime) -> bool:
        return self.quiet.begun(now) is not None

    def day_of_digest(self, now: datetime) -> str:
        """Return the day of the newest digest that is due, or an empty text if there are no digests."""
        if self.digest is None:
            return ""
        local = now.astimezone(self.quiet.zone).replace(tzinfo=None)
        return str((local - self.digest).date())


@dataclass(frozen=True)
class MailServer:
    """How mail is sent."""

    host: str
    port: int
    sender: str
    security: str
    username: str = ""
    password: str = ""
    ca_path: str | None = None


@dataclass(frozen=True)
class NoticeOptions:
    """The options, validated."""

    targets: tuple[Target, ...]
    thresholds: Thresholds
    mail: MailServer | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> NoticeOptions:
        """Validate the options of the module. Raise a TenantryError, which quotes neither URLs nor passwords."""
        given = params["thresholds"]
        thresholds = {
            name: timedelta(seconds=quantities.seconds(given[name], f"thresholds.{name}", _SHORTEST, _LONGEST))
            for name in THRESHOLDS
        }
        mail = _mail_server(params["smtp"])
        targets = tuple(_target(one, mail) for one in params["targets"])
        twice = naming.first_twice([one.name for one in targets])
        if twice is not None:
            raise TenantryError(f"targets: {shown(twice)} is given twice. Give each target a name of its own")
        return cls(targets, Thresholds(**thresholds), mail)


def _target(given: Mapping[str, Any], mail: MailServer | None) -> Target:
    name = naming.check_name(given["name"], "targets.name", reserved=())
    field, kind, tenant = f"targets.{name}", given["type"], given["tenant"]
    if tenant is not None:
        naming.check_name(tenant, f"{field}.tenant")
    # Members are none of a tenant's business.
    possible = [one for one in KINDS if tenant is None or one != MEMBER]
    kinds = possible if given["kinds"] is None else given["kinds"]
    if tenant is not None and MEMBER in kinds:
        raise TenantryError(f"{field}.kinds: {MEMBER} is for targets without tenant. Omit one of them")
    _check_options(given, field)
    if kind == MAIL and mail is None:
        raise TenantryError(f"{field}.type: mail needs a server. Set smtp")
    quiet = periods(given["quiet_hours"], given["timezone"], f"{field}.quiet_hours", f"{field}.timezone")
    return Target(
        name=name,
        type=kind,
        tenant=tenant,
        kinds=frozenset(kinds),
        quiet=quiet,
        digest=_time_of_day(given["digest"], f"{field}.digest"),
        url=given["url"] or "",
        token=given["token"] or "",
        ca_path=given["ca_path"],
        to=tuple(_address(one, f"{field}.to") for one in given["to"] or ()),
    )


def _check_options(given: Mapping[str, Any], field: str) -> None:
    """Raise a TenantryError if an option is missing, or is not one of this type of target."""
    kind = given["type"]
    needed = "to" if kind == MAIL else "url"
    if not given[needed]:
        raise TenantryError(f"{field}.{needed}: is missing, which type {kind} requires. Set it")
    takes = {needed, *(["ca_path"] if kind != MAIL else []), *(["token"] if kind in _WITH_TOKEN else [])}
    for option in ("to", "url", "token", "ca_path"):
        if given[option] and option not in takes:
            raise TenantryError(f"{field}.{option}: is no option of type {kind}. Omit it")
    if kind != MAIL:
        _check_url(given["url"], kind, field)
    if given["token"] and not _URL.fullmatch(given["token"]):
        raise TenantryError(f"{field}.token: has characters that a header cannot have. Set the token alone")


def _check_url(url: str, kind: str, field: str) -> None:
    schemes = ("https",) if kind in _ONLY_HTTPS else ("https", "http")
    try:
        parts = urlsplit(url)
        valid = bool(_URL.fullmatch(url) and parts.scheme in schemes and parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        begin = " or ".join(f"{one}://" for one in schemes)
        raise TenantryError(f"{field}.url: is not a URL that begins with {begin}. Set that of the webhook")
    user = unquote(f"{parts.username or ''}{parts.password or ''}")
    if not user.isprintable() or any(ord(one) > 255 for one in user):
        text = "its user or password has characters beyond Latin-1, which HTTP cannot take. Choose others"
        raise TenantryError(f"{field}.url: {text}")


def _mail_server(given: Mapping[str, Any] | None) -> MailServer | None:
    if given is None:
        return None
    security = given["security"]
    if not naming.DNS_NAME.fullmatch(given["host"].lower()):
        raise TenantryError(f"smtp.host: {shown(given['host'])} is not a host. Set the name of the mail server")
    port = PORTS[security] if given["port"] is None else given["port"]
    if not 0 < port < 65536:
        raise TenantryError(f"smtp.port: {port} is not a port. Use 1 to 65535")
    if (given["username"] is None) != (given["password"] is None):
        raise TenantryError("smtp: username and password go together. Set both, or none")
    user = f"{given['username'] or ''}{given['password'] or ''}"
    if not (user.isascii() and user.isprintable()):
        raise TenantryError("smtp: username or password has characters beyond ASCII, which SMTP cannot take. Change it")
    if given["password"] is not None and security == NO_TLS:
        raise TenantryError("smtp.security: none would send the password as it is. Use starttls or tls")
    if given["ca_path"] and security == NO_TLS:
        raise TenantryError("smtp.ca_path: is of no use with security none. Omit it, or use starttls or tls")
    sender = _address(given["from"], "smtp.from")
    return MailServer(
        given["host"], port, sender, security, given["username"] or "", given["password"] or "", given["ca_path"]
    )


def _address(text: str, field: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise TenantryError(f"{field}: {shown(text)} is not a mail address. Use one such as team@example.com, alone")
    return text


def _time_of_day(text: str | None, field: str) -> timedelta | None:
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if not match:
        raise TenantryError(f"{field}: {shown(text)} is not a time of day. Use one in quotes, such as '08:00'")
    return timedelta(hours=int(match[1]), minutes=int(match[2]))


def wanted_kinds(targets: Sequence[Target]) -> frozenset[str]:
    """Return the kinds of notices that any target wants."""
    return frozenset(kind for one in targets for kind in one.kinds)
