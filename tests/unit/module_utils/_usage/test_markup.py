"""Text never becomes markup."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage.markup import element, raw

INJECTIONS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "&lt;script&gt;",
    "\u202e\u2066reversed\x00\x1b",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_children_and_attributes_are_escaped(text: str) -> None:
    found = element("p", text, [text], title=text).text
    inner = found.removeprefix("<p ").removesuffix("</p>")
    assert "<" not in inner
    assert inner.count(">") == 1
    assert inner.count('"') == 2
    assert "'" not in inner
    assert not set("\u202e\u2066\x00\x1b") & set(found)


def test_markup_stays_markup() -> None:
    assert element("p", element("b", "<"), None, 3, class_="a", hidden=True, title=None, aria_label="x").text == (
        '<p class="a" hidden aria-label="x"><b>&lt;</b>3</p>'
    )
    assert element("meta", charset="utf-8").text == '<meta charset="utf-8">'


def test_scripts_are_constants() -> None:
    assert raw("script", "x < 1").text == "<script>x < 1</script>"
    with pytest.raises(ValueError, match="use raw"):
        element("script", "x")
    with pytest.raises(ValueError, match="ends where it should"):
        raw("style", "</style><p>")
