# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A kubeconfig as an option gives it: the path of a file, or the content as a dictionary."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig

Given: TypeAlias = "str | dict[str, Any]"

# The options of modules that take one, at any depth.
NAMES = ("kubeconfig", "member_kubeconfig", "hub_kubeconfig")
# Fields that may be shown. The values of all others are masked.
_SHOWN = {
    "apiVersion", "kind", "name", "current-context", "cluster", "user", "namespace", "server", "tls-server-name",
    "certificate-authority", "certificate-authority-data", "client-certificate", "client-certificate-data",
    "client-key", "tokenFile", "username", "as", "as-uid", "as-groups", "command", "interactiveMode", "installHint",
}  # fmt: skip
_IGNORED = ("extensions", "preferences")
# Names of flags and environment variables of a program whose values are masked.
_SECRET = re.compile(r"secret|token|pass|key|credential", re.IGNORECASE)
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
    if not isinstance(given, str) or _is_content(given):
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
    """Return what no output may show of the kubeconfigs among the options of a module, and of its items."""
    found: set[str] = set()
    for name, value in params.items():
        if name in NAMES:
            found.update(_lines(_of_one(value)))
        elif isinstance(value, list):
            found.update(*(secrets(item) for item in value if isinstance(item, dict)))
    return found


def _of_one(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        if not _is_content(given):
            return
        yield given
        given = kubeconfig.mapping(given)
    yield from _leaves(given, "")


def _is_content(text: str) -> bool:
    """Return whether a text is a kubeconfig as YAML or JSON, and not a path."""
    return "\n" in text or text.lstrip().startswith("{")


def _leaves(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name))
    elif field in _IGNORED:
        return
    elif isinstance(value, list):
        yield from _of_list(value, field)
    elif field == "proxy-url":
        yield from _of_url(value)
    elif field not in _SHOWN and value is not None and not isinstance(value, bool):
        yield str(value)


def _of_list(values: list[Any], field: str) -> Iterator[str]:
    if field == "args":
        yield from _of_arguments([str(value) for value in values])
        return
    for value in values:
        if field == "env" and isinstance(value, dict):
            yield from [str(value.get("value"))] if _SECRET.search(str(value.get("name"))) else []
        else:
            yield from _leaves(value, field)


def _of_arguments(arguments: list[str]) -> Iterator[str]:
    """Values of flags whose name says that they are secret: `--client-secret=VALUE`, `--token VALUE`."""
    for flag, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, separator, value = flag.partition("=")
        if name.startswith("-") and _SECRET.search(name):
            yield value if separator else following


def _of_url(url: Any) -> Iterator[str]:
    try:
        yield urlsplit(str(url)).password or ""
    except ValueError:
        yield str(url)


def _lines(values: Iterator[str]) -> Iterator[str]:
    """Also each line of a value: Ansible escapes the line breaks in between in some outputs."""
    for value in values:
        yield from (value, value.strip()) if value.strip() else ()
        yield from (line for line in value.split() if "\n" in value.strip() and len(line) >= _SHORTEST_LINE)
