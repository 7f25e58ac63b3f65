"""Bars and lines: their lengths, their gaps, and what they say."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._usage import charts


def test_bar_has_its_parts_by_share() -> None:
    found = charts.bars("CPU: used 1 of 4", 4, ("promised", 3), ("used", 1), ("unknown", None)).text
    assert 'aria-label="CPU: used 1 of 4"' in found
    assert '<rect class="promised" width="75"' in found
    assert '<rect class="used" width="25"' in found
    assert "unknown" not in found
    assert "limit" not in found


def test_bar_of_more_than_there_is_shows_the_limit() -> None:
    found = charts.bars("x", 4, ("promised", 8)).text
    assert '<rect class="promised" width="100"' in found
    assert '<rect class="limit" x="49.4"' in found


def test_bar_of_nothing_is_empty() -> None:
    assert charts.bars("x", 0, ("used", 0)).text.count("<rect") == 1


def test_line_has_gaps() -> None:
    found = charts.line("x", ("first", [0, 4, None, None, 2]), ("second", [None, None])).text
    assert found.count("<path") == 1
    assert 'd="M0 26h.01L30 2M120 14h.01"' in found
