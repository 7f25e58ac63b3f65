# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Proposals as a patch of the inventory's files. Only amounts change, so that comments and layout stay as they are."""

from __future__ import annotations

import difflib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._usage.sizing import Proposal

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # reported once, by _module.main()

VARIABLE = "tenantry_tenants"
# Where Ansible looks for variables of an inventory: files in it and, at any depth, in these directories.
_DIRECTORIES = ("group_vars", "host_vars")
_SUFFIXES = ("", ".yml", ".yaml", ".json")
_LARGEST = 16 * 1024 * 1024
_NO_YAML = ("$ANSIBLE_VAULT", "#!")


@dataclass(frozen=True)
class InventoryFile:
    """The file of an inventory that sets VARIABLE."""

    name: str  # relative to the inventory
    text: str


@dataclass(frozen=True)
class Patch:
    """A unified diff, empty without changes, and the reason for each proposal that is not in it."""

    text: str
    left_out: Mapping[Proposal, str]


def read(inventory: Path) -> InventoryFile:
    """Return the file that sets the tenants. Raise a TenantryError if there is none, or several."""
    base = inventory if inventory.is_dir() else inventory.parent
    if not inventory.exists():
        raise TenantryError(f"inventory: {inventory} does not exist. Set the directory or file that -i names")
    found = [file for path in _candidates(base) if (file := _read(base, path))]
    if len(found) != 1:
        named = " and ".join(file.name for file in found) or "no YAML file"
        raise TenantryError(
            f"inventory: {VARIABLE} is set in {named} of {base}. A patch needs exactly one, with the list of tenants"
        )
    return found[0]


class Editor:
    """The amounts in a file that sets the tenants."""

    def __init__(self, file: InventoryFile) -> None:
        self._file = file
        self._document = yaml.compose(file.text, Loader=yaml.SafeLoader)
        self._shared = {node for node, times in Counter(map(id, _nodes(self._document))).items() if times > 1}

    def editable(self, one: Proposal) -> bool:
        """Return whether a patch can have the proposal."""
        try:
            _amount(self._document, self._shared, one)
        except _LeftOutError:
            return False
        return True

    def patch(self, proposals: Iterable[Proposal], title: str) -> Patch:
        """Return the patch of the file, for `patch -p1`, which ignores the title and the reasons before it."""
        edits: list[tuple[int, int, str]] = []
        preamble, left_out = [title], {}
        for one in proposals:
            try:
                node = _amount(self._document, self._shared, one)
            except _LeftOutError as reason:
                left_out[one] = str(reason)
            else:
                quote = node.style or ('"' if self._file.name.endswith(".json") else "")
                edits.append((node.start_mark.index, node.end_mark.index, f"{quote}{one.text}{quote}"))
                preamble.append(f"{one.about}: {one.resource} {one.current_text} -> {one.text}: {one.reason}")
        text = self._file.text
        for start, end, amount in sorted(edits, reverse=True):
            text = text[:start] + amount + text[end:]
        diff = "".join(_diff(self._file.name, self._file.text, text))
        return Patch("\n".join([*preamble, diff]) if diff else "", left_out)


class _LeftOutError(Exception):
    """Why a proposal cannot be in the patch."""


def _candidates(base: Path) -> Iterator[Path]:
    found = [*base.iterdir(), *(path for name in _DIRECTORIES for path in (base / name).rglob("*"))]
    for path in sorted(found):
        hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
        if path.suffix in _SUFFIXES and not hidden and path.is_file() and path.stat().st_size <= _LARGEST:
            yield path


def _read(base: Path, path: Path) -> InventoryFile | None:
    name = str(path.relative_to(base))
    try:
        text = path.read_bytes().decode()
        if VARIABLE not in text or text.startswith(_NO_YAML):
            return None
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        if not path.suffix and not isinstance(error, OSError):
            return None  # no YAML, such as an inventory in INI format
        raise TenantryError(f"inventory: {path} cannot be read: {one_line(error)}. Correct the file") from None
    return InventoryFile(name, text) if _tenants(document) is not None else None


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield all nodes, and those that aliases refer to once more."""
    if node is None:
        return
    yield node
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _nodes(child)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            yield key
            yield from _nodes(child)


def _tenants(node: yaml.Node | None) -> yaml.Node | None:
    """Return the value of VARIABLE, in a file of variables or in an inventory in YAML."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, child in node.value:
        if key.value == VARIABLE:
            return child
    found = (_tenants(child) for _key, child in node.value)
    return next((one for one in found if one is not None), None)


def _amount(document: yaml.Node | None, shared: set[int], one: Proposal) -> yaml.ScalarNode:
    """Return the amount that is to change. Raise _LeftOutError if it cannot be changed there."""
    tenant = _named(_tenants(document), one.tenant)
    if one.vcluster:
        owner, keys = _named(_value(tenant, "vclusters"), one.vcluster), ("resources", one.resource)
    else:
        owner, keys = tenant, ("quota", one.resource)
    if owner is None:
        raise _LeftOutError("not in the inventory")
    amount: yaml.Node | None = owner
    for key in keys:
        amount = _value(amount, key)
        if amount is None:
            raise _LeftOutError(f"the inventory does not set {'.'.join(keys)} in its item")
        if id(amount) in shared:
            raise _LeftOutError("the inventory uses this value in several places, by an anchor")
    if not isinstance(amount, yaml.ScalarNode) or not _same(amount.value, one):
        raise _LeftOutError("the inventory has another amount or an expression. Apply the inventory first")
    return amount


def _same(text: str, one: Proposal) -> bool:
    try:
        return quantities.parse(text, one.resource) == one.current
    except TenantryError:
        return False


def _named(node: yaml.Node | None, name: str) -> yaml.Node | None:
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    found = [item for item in items if (label := _value(item, "name")) and label.value == name]
    return found[0] if len(found) == 1 else None


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((child for label, child in pairs if label.value == key), None)


def _diff(name: str, before: str, after: str) -> Iterator[str]:
    old, new = (list(io.StringIO(text, newline="\n")) for text in (before, after))
    for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
