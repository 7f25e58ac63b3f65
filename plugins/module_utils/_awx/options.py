# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the module, parsed and checked. Pure, but for the file of a kubeconfig."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import check_name, first_twice
from ansible_collections.tenantry.kube.plugins.module_utils._core.quantities import seconds
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig, kubeconfig_option

DEFAULT_TTLS = ["1d", "7d", "30d"]
DEFAULT_SCHEDULES = {
    "self_service": "DTSTART:20260101T000000Z RRULE:FREQ=MINUTELY;INTERVAL=1",
    "housekeeping": "DTSTART:20260101T000500Z RRULE:FREQ=MINUTELY;INTERVAL=10",
    "backup": "DTSTART:20260101T020000Z RRULE:FREQ=DAILY;INTERVAL=1",
    "report": "DTSTART:20260101T060000Z RRULE:FREQ=DAILY;INTERVAL=1",
}
# What a controller accepts is one start and rules with an interval.
_RRULE = re.compile(r"DTSTART(;TZID=[^:\s]+)?:\d{8}T\d{6}Z?( (EX)?RULE:\S*| RRULE:\S*INTERVAL=\d\S*)+")


@dataclass(frozen=True)
class Tenant:
    """A tenant, and its virtual clusters in the inventory."""

    name: str
    vclusters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hub:
    """How jobs reach the hub: an address with a token, or a kubeconfig. Values are inputs of the credential."""

    inputs: dict[str, Any]
    by_kubeconfig: bool


@dataclass(frozen=True)
class Connection:
    """How the module reaches the controller."""

    host: str
    token: str = field(repr=False)
    prefix: str
    ca_path: str | None
    timeout: int  # seconds of each request


@dataclass(frozen=True)
class Options:
    """The connection, how a run acts, and all that the desired objects are rendered from."""

    connection: Connection
    update_secrets: bool
    wait_timeout: int  # seconds
    organization: str
    project_url: str
    project_branch: str
    project_credential: str
    inventory_path: str
    image: str
    image_credential: str
    hub: Hub
    passphrase: str
    bucket: dict[str, str]
    tenants: tuple[Tenant, ...]
    sizes: tuple[str, ...]
    ttls: tuple[str, ...]
    schedules: dict[str, str]
    notifications: tuple[str, ...]

    @classmethod
    def of(cls, params: dict[str, Any]) -> Options:
        """Parse the parameters of the module. Raise a TenantryError for the first that is invalid."""
        return cls(
            connection=_connection(params),
            update_secrets=params["update_secrets"],
            wait_timeout=params["wait_timeout"],
            organization=_filled(params, "organization"),
            project_url=_filled(params, "project_url"),
            project_branch=params["project_branch"] or "",
            project_credential=params["project_credential"] or "",
            inventory_path=_filled(params, "inventory_path"),
            image=_filled(params, "execution_environment_image"),
            image_credential=params["execution_environment_credential"] or "",
            hub=_hub(params),
            passphrase=params["snapshot_passphrase"] or "",
            bucket=_bucket(params),
            tenants=_tenants(params["tenants"]),
            sizes=tuple(params["sizes"]),
            ttls=_ttls(params["ttls"]),
            schedules=_schedules(params["schedules"]),
            notifications=tuple(params["failure_notifications"]),
        )


def check_https(url: str | None, option: str) -> None:
    """Raise a TenantryError if the address would carry a token in plain text."""
    if "@" in (url or ""):  # which may follow a password
        raise TenantryError(f"{option}: has a user in the address. Write https://HOST, and give a token")
    try:
        parts = urlsplit(url or "")
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise TenantryError(
            f"{option}: {shown(url or '')} is not an https:// address. Set one such as https://awx.example.com"
        )


def _connection(params: dict[str, Any]) -> Connection:
    check_https(params["controller_host"], "controller_host")
    return Connection(
        host=params["controller_host"],
        token=params["controller_oauthtoken"],
        prefix=params["api_prefix"],
        ca_path=params["ca_path"],
        timeout=params["timeout"],
    )


def _filled(params: dict[str, Any], option: str) -> str:
    if not params[option]:
        raise TenantryError(f"{option}: is empty. Set it")
    return params[option]


def _hub(params: dict[str, Any]) -> Hub:
    host, token, ca, given = (params[f"hub_{name}"] for name in ("host", "token", "ca_cert", "kubeconfig"))
    if given and (host or token or ca):
        raise TenantryError(
            "hub_kubeconfig: not together with hub_host, hub_token and hub_ca_cert. Omit one of the two"
        )
    if given:
        config = kubeconfig_option.source(given, "hub_kubeconfig").config
        return Hub({"kubeconfig": kubeconfig.as_text(config)}, by_kubeconfig=True)
    if not host or not token:
        raise TenantryError(
            "hub_host, hub_token: both are required without hub_kubeconfig. Set them, or hub_kubeconfig"
        )
    check_https(host, "hub_host")
    inputs = {"host": host, "bearer_token": token, "verify_ssl": True}
    return Hub({**inputs, "ssl_ca_cert": ca} if ca else inputs, by_kubeconfig=False)


def _bucket(params: dict[str, Any]) -> dict[str, str]:
    key, secret = params["snapshot_access_key"] or "", params["snapshot_secret_key"] or ""
    if bool(key) != bool(secret):
        raise TenantryError("snapshot_access_key, snapshot_secret_key: only one is set. Set both or none")
    return {"username": key, "password": secret} if key else {}


def _tenants(given: list[dict[str, Any]]) -> tuple[Tenant, ...]:
    tenants = []
    for index, item in enumerate(given):
        name = check_name(item.get("name"), f"tenants[{index}].name")
        vclusters = [
            check_name(one.get("name") if isinstance(one, dict) else one, f"tenants[{index}].vclusters[{place}].name")
            for place, one in enumerate(item.get("vclusters") or [])
        ]
        tenants.append(Tenant(name, tuple(vclusters)))
    if twice := first_twice([tenant.name for tenant in tenants]):
        raise TenantryError(f"tenants: {shown(twice)} is given twice. Give each once")
    return tuple(tenants)


def _ttls(given: list[str]) -> tuple[str, ...]:
    if not given:
        raise TenantryError("ttls: is empty, so the surveys would not limit ttl. Set one or more, such as 7d")
    for ttl in given:
        seconds(ttl, "ttls", minimum="1h", maximum="3650d")
    return tuple(given)


def _schedules(given: dict[str, Any]) -> dict[str, str]:
    for name, rule in given.items():
        if name not in DEFAULT_SCHEDULES:
            raise TenantryError(f"schedules: {shown(name)} has no schedule. Use {', '.join(DEFAULT_SCHEDULES)}")
        if rule and (not isinstance(rule, str) or not _RRULE.fullmatch(rule)):
            raise TenantryError(
                f"schedules.{name}: {shown(rule)} is not a rule that a controller accepts. "
                f"Use one such as {DEFAULT_SCHEDULES[name]}"
            )
    return {name: rule for name, rule in given.items() if rule}
