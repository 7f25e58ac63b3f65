# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build HTML so that text cannot become markup. Pure.

Only `element` makes markup. All else that it is given, children and attributes, is text and is escaped. The module's
interpreter may lack Jinja2, and here there is no filter that could be forgotten.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Union

# Elements without an end tag.
_VOID = frozenset({"input", "meta"})
# Content of these is no text, so it must come from this collection.
_RAW = frozenset({"script", "style"})


class Markup:
    """Markup that this package built."""

    def __init__(self, text: str) -> None:
        self.text = text


# Sanity tests read it as an older Python would.
Child = Union[Markup, str, int, float, Iterable["Child"], None]  # noqa: UP007


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return an element. `class_` is its attribute class, `aria_label` is aria-label. None and False are omitted."""
    if tag in _RAW:
        raise ValueError(f"{tag}: use raw()")
    opening = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    return Markup(opening if tag in _VOID else f"{opening}{''.join(map(_rendered, children))}</{tag}>")


def raw(tag: str, constant: str) -> Markup:
    """Return a script or style. `constant` is code of this collection, never data."""
    if tag not in _RAW or f"</{tag}" in constant:
        raise ValueError(f"{tag}: not a script or style that ends where it should")
    return Markup(f"<{tag}>{constant}</{tag}>")


def document(root: Markup) -> str:
    return f"<!doctype html>\n{root.text}\n"


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(str(value))}"'


def _rendered(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child.text
    if isinstance(child, (str, int, float)):
        return _escaped(str(child))
    return "".join(map(_rendered, child))


def _escaped(text: str) -> str:
    """Escape text. Characters that do not print, such as those that reverse the direction, become spaces."""
    return html.escape("".join(char if char.isprintable() else " " for char in text))
