# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenID Connect: issuers that API servers trust, and users and groups there. Pure, except for the CA's file."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import RBAC_GROUP

PREFIX = "oidc:"
# Names that Kubernetes and the platform give to themselves. An API server that trusts an issuer refuses them from it,
# whatever claims and prefixes are.
OURS = ("system:", "tenantry:")
COMMAND = "kubectl"
ARGUMENTS = ("oidc-login", "get-token", "--oidc-issuer-url={issuer_url}", "--oidc-client-id={client_id}")

OPTIONS = {
    "issuer_url": {"type": "str", "required": True},
    "client_id": {"type": "str", "required": True},
    "username_claim": {"type": "str", "default": "sub"},
    "username_prefix": {"type": "str", "default": PREFIX},
    "groups_claim": {"type": "str"},
    "groups_prefix": {"type": "str", "default": PREFIX},
    "required_claims": {"type": "dict"},
    "ca_file": {"type": "path"},
}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_LONGEST = 200


@dataclass(frozen=True)
class Issuer:
    """The issuer of a virtual cluster."""

    url: str
    client_id: str
    username_claim: str
    username_prefix: str
    groups_claim: str | None
    groups_prefix: str
    required_claims: tuple[tuple[str, str], ...]
    ca: str  # PEM; empty: the CAs that the image of the server has

    def record(self) -> dict[str, Any]:
        """Return the part of the issuer that kubeconfigs and rights of users need, for the record."""
        return {
            "issuer_url": self.url,
            "client_id": self.client_id,
            "username_prefix": self.username_prefix,
            "groups_prefix": self.groups_prefix if self.groups_claim else None,
        }

    def authenticator(self) -> dict[str, Any]:
        """Return the item of `jwt` in an API server's authentication configuration."""
        mappings: dict[str, Any] = {"username": {"claim": self.username_claim, "prefix": self.username_prefix}}
        if self.groups_claim:
            mappings["groups"] = {"claim": self.groups_claim, "prefix": self.groups_prefix}
        found: dict[str, Any] = {
            "issuer": {"url": self.url, "audiences": [self.client_id]},
            "claimMappings": mappings,
            "userValidationRules": [
                {
                    "expression": f"!user.username.startsWith('{ours}') && user.groups.all(g, !g.startsWith('{ours}'))",
                    "message": f"names that begin with {ours} are reserved; an issuer must not assign them",
                }
                for ours in OURS
            ],
        }
        if self.ca:
            found["issuer"]["certificateAuthority"] = self.ca
        if self.required_claims:
            found["claimValidationRules"] = [{"claim": c, "requiredValue": v} for c, v in self.required_claims]
        return found


@dataclass(frozen=True)
class Person:
    """A user or group at an issuer. Each API server adds its own prefix to the name."""

    user: str | None
    group: str | None
    hub_prefix: str
    command: str
    args: tuple[str, ...]

    @property
    def recorded(self) -> str:
        """As the hub keeps it, without any prefix."""
        return f"user {self.user}" if self.user else f"group {self.group}"

    def on_hub(self) -> dict[str, str]:
        """Return the subject of a binding on the hub."""
        return self._subject(self.hub_prefix)

    def inside(self, issuer: dict[str, Any]) -> dict[str, str]:
        """Return the subject of a binding in a virtual cluster. `issuer` is the record of its issuer."""
        return self._subject(issuer["username_prefix"] if self.user else issuer["groups_prefix"])

    def plugin(self, issuer: dict[str, Any]) -> dict[str, Any]:
        """Return the exec plugin of a kubeconfig, a program that fetches a token."""
        filled = [_filled(one, issuer) for one in self.args]
        return {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": self.command,
            "args": filled,
            "interactiveMode": "IfAvailable",
            "provideClusterInfo": False,
        }

    def _subject(self, prefix: str) -> dict[str, str]:
        kind, name = ("User", self.user) if self.user else ("Group", self.group)
        return {"apiGroup": RBAC_GROUP, "kind": kind, "name": f"{prefix}{name}"}


def subject_inside(recorded: str, issuer: dict[str, Any] | None) -> tuple[str, str] | None:
    """Kind and name of the subject in a virtual cluster, by the records of the person and of its issuer, if any."""
    kind, _space, name = recorded.partition(" ")
    prefix = issuer["username_prefix" if kind == "user" else "groups_prefix"] if issuer else None
    return None if prefix is None else (kind.capitalize(), f"{prefix}{name}")


def parse_issuer(given: dict | None) -> Issuer | None:
    """Validate the option oidc of a virtual cluster. Return None if it is not set."""
    if not given:
        return None
    prefixes = {option: _prefix(given[option], f"oidc.{option}") for option in ("username_prefix", "groups_prefix")}
    return Issuer(
        url=_url(given["issuer_url"]),
        client_id=_word(given["client_id"], "oidc.client_id"),
        username_claim=_word(given["username_claim"], "oidc.username_claim"),
        groups_claim=_word(given["groups_claim"], "oidc.groups_claim") if given["groups_claim"] is not None else None,
        required_claims=_claims(given["required_claims"] or {}),
        ca=_authority(given["ca_file"]) if given["ca_file"] else "",
        **prefixes,
    )


def parse_person(given: dict | None, who: str) -> Person | None:
    """Validate the option oidc of a user. Return None if it names neither a user nor a group.

    `who` is the user in error messages.
    """
    names = [given[option] for option in ("username", "group") if given[option] is not None] if given else []
    if given is None or not names:  # what is said of the program alone is a default for those who have a name there
        return None
    if len(names) > 1 or not names[0]:
        raise TenantryError(f"oidc: must have either username or group for {who}. Set one of them")
    option = "username" if given["username"] else "group"
    name = _text(given[option], f"oidc.{option}")
    prefix = _prefix(given["hub_prefix"], "oidc.hub_prefix")
    if f"{prefix}{name}".startswith(OURS):
        raise TenantryError(
            f"oidc.{option}: {shown(name)} of {who} is a name of Kubernetes or of the platform. Set the issuer's name"
        )
    args = ARGUMENTS if given["args"] is None else given["args"]
    return Person(
        user=given["username"] or None,
        group=given["group"] or None,
        hub_prefix=prefix,
        command=_text(given["command"], "oidc.command"),
        args=tuple(_text(one, "oidc.args") for one in args),
    )


def _filled(argument: str, issuer: dict[str, Any]) -> str:
    for key in ("issuer_url", "client_id"):
        argument = argument.replace(f"{{{key}}}", issuer[key])
    return argument


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme == "https" and parts.hostname and not (parts.username or parts.query or parts.fragment)
        valid = valid and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or value != _word(value, "oidc.issuer_url"):
        raise TenantryError(
            f"oidc.issuer_url: {shown(value)} is not an https:// address without user, query and fragment. "
            "Write it as the issuer's /.well-known/openid-configuration says it"
        )
    return value


def _text(value: str, option: str) -> str:
    if not value or len(value) > _LONGEST or not value.isprintable() or value != value.strip():
        raise TenantryError(
            f"{option}: {shown(value)} must be printable text of 1 to {_LONGEST} characters, without spaces around it"
        )
    return value


def _word(value: str, option: str) -> str:
    if " " in _text(value, option):
        raise TenantryError(f"{option}: {shown(value)} contains a space. Write it as the issuer does")
    return value


def _prefix(value: str, option: str) -> str:
    if value and (
        _word(value, option) == "-" or any(ours.startswith(value) or value.startswith(ours) for ours in OURS)
    ):
        raise TenantryError(
            f"{option}: {shown(value)} would result in names of Kubernetes or of the platform. Choose another, such as "
            f"{PREFIX}"
        )
    return value


def _claims(given: dict) -> tuple[tuple[str, str], ...]:
    for claim, value in given.items():
        _word(str(claim), "oidc.required_claims")
        if not isinstance(value, str) or not value:
            raise TenantryError(f"oidc.required_claims.{claim}: must be text, not {shown(value)}. Quote it")
    return tuple(sorted((str(claim), value) for claim, value in given.items()))


def _authority(path: str) -> str:
    """Return the certificates of the file, and nothing else of it."""
    try:
        text = Path(path).expanduser().read_text(encoding="ascii")
    except OSError as error:
        raise TenantryError(
            f"oidc.ca_file: cannot read {path}: {error.strerror}. Set the issuer's CA as a PEM file"
        ) from None
    except UnicodeDecodeError:
        text = ""
    found = "".join(f"{one.strip()}\n" for one in _CERTIFICATE.findall(text))
    try:
        ssl.create_default_context(cadata=found or "none")
    except (ssl.SSLError, ValueError):
        raise TenantryError(
            f"oidc.ca_file: {path} does not contain a valid certificate. Set the issuer's CA as a PEM file"
        ) from None
    return found
