# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A kubeconfig as an option gives it: the path of a file, or the content as a dictionary."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig

Given: TypeAlias = "str | dict[str, Any]"

# The options of modules that take one, at any depth.
NAMES = ("kubeconfig", "member_kubeconfig", "hub_kubeconfig")
# Fields that may be shown. The values of all others are masked.
_SHOWN = {
    "apiVersion", "kind", "name", "current-context", "cluster", "user", "namespace", "tls-server-name",
    "certificate-authority", "certificate-authority-data", "client-certificate", "client-certificate-data",
    "client-key", "tokenFile", "username", "as", "as-uid", "as-groups", "command", "interactiveMode", "installHint",
}  # fmt: skip
_ADDRESSES = ("server", "proxy-url")
_IGNORED = ("extensions", "preferences")
# Names of flags and environment variables of a program whose values are masked: not an authority, which is an address.
_SECRET = re.compile(
    r"secret|token|pass|key|credential|auth(?!ority)|bearer|cookie|header|(^|[_-])pat$|^-[pHu]$", re.IGNORECASE
)
_ASSIGNMENT = re.compile(r"(-{0,2}[\w.-]+)=(.*)", re.DOTALL)
_FLAG = re.compile(r"-\w|--[a-z][a-z0-9-]*(=.*)?", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"^(bearer|basic|token)\s+", re.IGNORECASE)
# What precedes the @ in a URL, even if a password has a / that should be escaped.
_USERINFO = re.compile(r"://([^\s/]*|\S*)@")
# Values of such names that are no secrets. They would be masked wherever they occur.
_HARMLESS = re.compile(r"=*|true|false|\d{1,3}", re.IGNORECASE)
_SHORTEST_LINE = 8


class Source(NamedTuple):
    """A kubeconfig as it was found. Relative paths in it start at `folder`, and errors at `where`."""

    config: dict[str, Any]
    where: str
    folder: Path


def source(given: Given, field: str) -> Source:
    """Return the content of an option's file, or its dictionary. Raise a TenantryError that names `field`."""
    if isinstance(given, dict):
        kubeconfig.check_shape(given, f"{field}: the dictionary")
        return Source(given, field, Path.cwd())
    if not isinstance(given, str) or is_content(given):
        raise TenantryError(
            f"{field}: is neither a path nor a dictionary. Set the path of a file, or convert a text with from_yaml"
        )
    file = Path(os.path.expandvars(given)).expanduser()
    return Source(kubeconfig.document(file, field), f"{field}: {given}", file.absolute().parent)


def load(given: Given, context: str | None, *, field: str = "kubeconfig", trust: str = "") -> dict[str, Any]:
    """Return the chosen context, as `kubeconfig.load` does for a path."""
    found = source(given, field)
    return kubeconfig.resolve(found.config, context, found.where, found.folder, trust)


def secrets(params: Mapping[str, Any]) -> set[str]:
    """Return what no output may show of the kubeconfigs and web addresses among a module's options, at any depth."""
    found: set[str] = set()
    for name, value in params.items():
        if name in NAMES:
            found.update(of_content(value))
        elif isinstance(value, str) and value.startswith("http"):
            found.update(_lines(_of_urls(value)))
        elif isinstance(value, (list, dict)):
            items = value if isinstance(value, list) else [value]
            found.update(*(secrets(item) for item in items if isinstance(item, dict)))
    return found


def of_content(given: Any) -> set[str]:
    """Return what no output may show of a kubeconfig, or of any text or dictionary in place of a path."""
    return set(_lines(_of_one(given)))


def _of_one(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        if not is_content(given):
            return
        yield given
        given = kubeconfig.mapping(given)
    yield from _leaves(given, "")


def is_content(text: str) -> bool:
    """Return whether a text is the content of a file, such as YAML or JSON, and not a path."""
    return "\n" in text or text.lstrip().startswith("{")


def _leaves(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name))
    elif field in _IGNORED:
        return
    elif isinstance(value, list):
        yield from _of_list(value, field)
    elif field in _ADDRESSES:
        yield from _of_address(str(value))
    elif field in _SHOWN:
        yield from _of_urls(str(value))
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _of_list(values: list[Any], field: str) -> Iterator[str]:
    if field == "args":
        yield from _of_arguments([str(value) for value in values])
        return
    for value in values:
        if field == "env" and isinstance(value, dict):
            yield from _of_variable(str(value.get("name")), str(value.get("value") or ""))
        else:
            yield from _leaves(value, field)


def _of_variable(name: str, value: str) -> Iterator[str]:
    if _SECRET.search(name):
        yield from _of_named(name, value)
    if name.lower().endswith("proxy"):
        yield from _of_address(value)
    yield from _of_arguments([value])


def _of_arguments(arguments: list[str]) -> Iterator[str]:
    """Values of names that say that they are secret: `--client-secret=VALUE`, `--token VALUE`, `-p VALUE`.

    An argument with spaces may be a command of a shell, with arguments of its own.
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        assigned = _ASSIGNMENT.fullmatch(argument)
        if assigned and _SECRET.search(assigned[1]):
            yield from _of_named(assigned[1], assigned[2])
        elif _FLAG.fullmatch(argument) and not assigned and _SECRET.search(argument):
            yield from _of_named(argument, "" if _FLAG.fullmatch(following) else following)
        yield from _of_urls(argument)
        if len(argument.split()) > 1 and not (assigned and argument.startswith("-")):
            yield from _of_arguments(_words(argument))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark that nothing closes
        return text.split()


def _of_named(name: str, value: str) -> Iterator[str]:
    """The secret in the value of such a name: of a header without its name and scheme, of a user the password."""
    if name == "-u":
        yield from _of_userinfo(value)
        return
    if value.lstrip().startswith("{"):
        yield from _leaves(kubeconfig.mapping(value), "")
    if name == "-H" or "header" in name.lower():
        value = value.partition(":")[2].strip() or value
    value = _SCHEME.sub("", value)
    if not _HARMLESS.fullmatch(value):
        yield value


def _of_address(url: str) -> Iterator[str]:
    yield from _of_urls(url if "://" in url else f"://{url}")


def _of_urls(text: str) -> Iterator[str]:
    for found in _USERINFO.findall(text):
        yield from _of_userinfo(found)


def _of_userinfo(text: str) -> Iterator[str]:
    """The password, or a user without one, which is a token."""
    user, _colon, password = text.partition(":")
    yield from (password or user, unquote(password or user))


def _lines(values: Iterator[str]) -> Iterator[str]:
    """Also what the log and errors make of a value, and each of its lines, which some outputs break elsewhere."""
    for value in values:
        if bare := value.strip():
            yield from (value, bare, repr(bare)[1:-1], json.dumps(bare)[1:-1])
            yield from (line for line in value.split() if "\n" in bare and len(line) >= _SHORTEST_LINE)
