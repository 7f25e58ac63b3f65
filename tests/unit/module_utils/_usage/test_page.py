"""The page: complete without its script, and nothing that a tenant controls becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage import page, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample, TenantSample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Past
from ansible_collections.tenantry.kube.plugins.module_utils._usage.style import SCRIPT, STYLE

from .fleet import NOW, host, sample, tenant, vcluster
from .test_markup import INJECTIONS
from .test_report import PRICES, history_of


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """What a browser sees as markup: elements and the names of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]


def fleet(text: str = "x") -> Sample:
    """A sample with that text wherever a tenant, or a cluster that it runs on, can place some."""
    mine = vcluster(
        text,
        text,
        "hub",
        tier=text,
        mode=text,
        status="NotReady",
        version=text,
        message=text,
        extended={f"{text}/gpu": Decimal(1)},
        expires=NOW,
        idle_since=NOW - timedelta(days=30),
    )
    quiet = replace(mine, status=text, message=None)
    hosts = (host("hub", version=text, unmeasured=text, used=None), host(text))
    known = (TenantSample(text, f"{text} Ltd", {"cpu": Decimal(1)}, NOW),)
    return Sample(NOW, hosts, (mine, quiet), known, {f"{text}-lost": text})


def rendered(found: Sample, past: Past | None = None) -> Page:
    return Page(page.render(report.build(found, past or Past(), PRICES)))


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_of_tenants_changes_no_markup(text: str) -> None:
    harmless, injected = rendered(fleet()), rendered(fleet(text))
    assert injected.shape == harmless.shape
    visible = "".join(char if char.isprintable() else " " for char in text)
    assert injected.text.count(visible) >= 8, "positive control: the text is there"


def test_shape_differs_if_text_is_not_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: the test above would see it."""
    monkeypatch.setattr("html.escape", lambda text: text)
    assert rendered(fleet(INJECTIONS[0])).shape != rendered(fleet()).shape


def test_policy_allows_the_style_and_the_script_only() -> None:
    found = rendered(fleet())
    (policy,) = [one["content"] for one in found.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]

    def hashed(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashed(STYLE)}'; script-src 'sha256-{hashed(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [
        name for _tag, attributes in found.elements for name in attributes if name == "style" or name[:2] == "on"
    ]


def test_page_needs_nothing_from_elsewhere() -> None:
    found = rendered(fleet())
    assert not set(Counter(tag for tag, _attributes in found.elements)) & {"link", "img", "iframe", "form", "object"}
    assert [one["href"] for one in found.all("a") if not (one["href"] or "").startswith("#")] == []
    assert not re.search(r"https?:|url\(|@import", STYLE + SCRIPT)


def test_page_has_a_structure_for_screen_readers(tmp_path: Any) -> None:
    found = rendered(*history_of(tmp_path))
    assert found.elements[0] == ("html", {"lang": "en"})
    headings = [int(tag[1]) for tag, _attributes in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert max(second - first for first, second in pairwise(headings)) <= 1
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(one.get("scope") in ("col", "row") for one in found.all("th"))
    assert all(one.get("aria-label") or one.get("aria-hidden") for one in found.all("svg"))
    ids = [attributes["id"] for _tag, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(one["href"] or "")[1:] for one in found.all("a")} <= set(ids)


def test_numbers_have_their_time_and_gaps_are_named() -> None:
    found = rendered(
        sample(vcluster(used=None), clusters=(host(used=None, unmeasured="no API"),), missing={"edge": "down"})
    )
    assert found.text.count("2026-11-30T09:02:00Z") >= 4
    assert "edge does not answer: its virtual clusters are missing in this report." in found.text
    assert "hub reports no use: it is not known, rather than zero." in found.text
    assert "not measured of 8 cores" in found.text


def test_page_of_a_tenant_has_nothing_of_others() -> None:
    others = sample(
        vcluster("payments", "dev"),
        vcluster("research", "lab", "research-cloud"),
        clusters=(host(), host("research-cloud", used=None, unmeasured="no API")),
        tenants=(tenant(), tenant("research", "Research Group")),
    )
    whole = report.build(others, Past(), PRICES)
    mine = page.render(report.only_tenant(whole, "payments"))
    assert "payments/dev" in mine
    assert "esearch" not in mine
    assert "esearch" in page.render(whole), "positive control"
