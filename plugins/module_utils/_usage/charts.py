# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bars and lines as SVG, which says in words what it shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.tenantry.kube.plugins.module_utils._usage.markup import Markup, element

WIDTH, HEIGHT = 120, 28


def bars(label: str, whole: float, *parts: tuple[str, float | None]) -> Markup:
    """Return a bar of nested parts, each a class and an amount, the largest first. `whole` is the width."""
    scale = max([whole, *(amount or 0 for _name, amount in parts)]) or 1
    shapes = [
        element("rect", class_=name, width=_short(100 * amount / scale), height=10, rx=1)
        for name, amount in parts
        if amount
    ]
    if whole and whole < scale:  # more than there is: the limit is a line in the bar
        shapes.append(element("rect", class_="limit", x=_short(100 * whole / scale - 0.6), width=1.2, height=10))
    track = element("rect", class_="track", width=100, height=10, rx=1)
    return element(
        "svg",
        track,
        *shapes,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def line(label: str, *series: tuple[str, Sequence[float | None]]) -> Markup:
    """Return lines over time, each a class and its values. A None is a gap in the line."""
    known = [value for _name, values in series for value in values if value is not None]
    top = max(known, default=0) or 1
    paths = [element("path", class_=name, d=_path(values, top)) for name, values in series if any_of(values)]
    return element("svg", *paths, class_="line", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def any_of(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)


def _path(values: Sequence[float | None], top: float) -> str:
    step = WIDTH / max(1, len(values) - 1)
    parts, drawing = [], False
    for index, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        x, y = _short(index * step), _short(HEIGHT - 2 - (HEIGHT - 4) * value / top)
        # A single value between gaps is a dot.
        parts.append(f"{'L' if drawing else 'M'}{x} {y}{'' if drawing else 'h.01'}")
        drawing = True
    return "".join(parts)


def _short(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")
