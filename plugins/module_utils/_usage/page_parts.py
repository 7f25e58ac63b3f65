# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parts of the page: amounts in words, cells, tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._usage import charts
from ansible_collections.tenantry.kube.plugins.module_utils._usage.markup import Child, Markup, element

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Cell:
    """A cell. `value` is what it is sorted by, if not its text."""

    content: Child
    value: float | str | None = None
    class_: str | None = None


@dataclass(frozen=True)
class Table:
    """A table. The first cell of each row names it."""

    id: str
    caption: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    foot: Iterable[Sequence[Cell]] = ()
    sortable: bool = True


def table(given: Table) -> Markup:
    """Return a table that a phone shows as cards, by the label of each cell. The roles survive its display."""
    cells_of_rows = list(given.rows)
    classes = [cell.class_ for cell in cells_of_rows[0]] if cells_of_rows else [None] * len(given.columns)
    heads = [
        element("th", column, scope="col", role="columnheader", class_="right" if class_ == "right" else None)
        for column, class_ in zip(given.columns, classes, strict=True)
    ]
    rows = [_row(given.columns, cells) for cells in cells_of_rows]
    foot = [_row(given.columns, cells) for cells in given.foot]
    return element(
        "table",
        element("caption", given.caption),
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", rows, role="rowgroup"),
        element("tfoot", foot, role="rowgroup") if foot else None,
        id=given.id,
        class_="sortable" if given.sortable and len(rows) > 1 else None,
        role="table",
    )


def _row(columns: Sequence[str], cells: Sequence[Cell]) -> Markup:
    first, *others = cells
    name = element("th", first.content, scope="row", role="rowheader", data_value=first.value)
    rest = [
        element("td", _boxed(one.content), role="cell", class_=one.class_, data_label=column, data_value=one.value)
        for column, one in zip(columns[1:], others, strict=True)
    ]
    return element("tr", name, rest, role="row")


def _boxed(content: Child) -> Child:
    """Return what a phone shows beside the label of its cell as one."""
    return content if isinstance(content, str) else element("div", content)


def section(id_: str, title: str, about: Child, *content: Child, search: str | None = None) -> Markup:
    """Return a section with its heading. `search` is the id of a table that can be filtered."""
    box = None
    if search:
        box = element(
            "input", type="search", data_table=search, aria_label=f"Filter: {title}", placeholder="Filter", hidden=True
        )
    heading = element(
        "div", element("h2", title, id=f"{id_}-title"), element("p", about, class_="soft"), box, class_="title"
    )
    return element("section", heading, content, id=id_, aria_labelledby=f"{id_}-title")


def name(text: str, *, under: str = "") -> list[Markup]:
    """Return a name, whose direction does not change what is beside it."""
    return [element("bdi", text), *([element("small", element("bdi", under))] if under else [])]


def cores(amount: float | None) -> str:
    if amount is None:
        return NOT_MEASURED
    return f"{amount:,.0f}" if amount >= 100 else _short(amount, 1 if amount >= 10 else 2)


def _short(amount: float, places: int) -> str:
    return f"{amount:.{places}f}".rstrip("0").rstrip(".")


def size(amount: float | None) -> str:
    """Return bytes with a unit."""
    if amount is None:
        return NOT_MEASURED
    for unit in _SIZES:
        if amount < 1024 or unit == _SIZES[-1]:
            break
        amount /= 1024
    return f"{amount:,.0f} {unit}" if amount >= 100 else f"{_short(amount, 1)} {unit}"


def shown(resource: str, amount: float | None) -> str:
    return size(amount) if resource in ("memory", "storage") else cores(amount)


def money(amount: str | None, currency: str | None) -> str:
    return "" if amount is None or currency is None else f"{float(amount):,.2f} {currency}"


def percent(part: float | None, whole: float) -> str:
    return "" if part is None or not whole else f"{100 * part / whole:.0f} %"


def meter(what: str, resource: str, whole: tuple[str, float], *parts: tuple[str, float | None]) -> Cell:
    """Return a bar and its numbers. `whole` and `parts` have a word, the class in the bar too, and an amount."""
    unit = " cores" if resource == "cpu" else ""
    words = [f"{word} {shown(resource, amount)}" for word, amount in (*reversed(parts), whole)]
    label = f"{resource} of {what}: {', '.join(words)}{unit}"
    last = parts[-1][1]
    return Cell(
        [
            charts.bars(label, whole[1], *parts),
            element("small", f"{shown(resource, last)} of {shown(resource, whole[1])}{unit}"),
        ],
        (last or 0) / whole[1] if whole[1] else 0,
        "meter",
    )


def level(text: str) -> Markup:
    return element("span", text, class_=f"level {text}")


def when(text: str | None, now: str, *, soon_days: float = 0, old_days: float = 0) -> Cell:
    """Return a date and how far it is. What ends soon, or is old, stands out."""
    if not text:
        return Cell("", "")
    days = (_moment(text) - _moment(now)).total_seconds() / 86400
    alert = (soon_days and days < soon_days) or (old_days and -days > old_days)
    distance = element("span", _distance(days), class_="level warning" if alert else None)
    return Cell([distance, element("small", text[:16].replace("T", " "))], text)


def _distance(days: float) -> str:
    amount = f"{abs(days):.0f} d" if abs(days) >= 2 else f"{abs(days) * 24:.0f} h"
    return f"in {amount}" if days >= 0 else f"{amount} ago"


def _moment(text: str) -> datetime:
    return moment(text)


def definitions(words: Mapping[str, Any]) -> Markup:
    return element("dl", [[element("dt", word), element("dd", text)] for word, text in words.items()])
