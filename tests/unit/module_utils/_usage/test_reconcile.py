"""The options of usage_report, and the files that it writes."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._usage import gather, reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.reconcile import UsageOptions

from .fleet import NOW, amounts, host, sample, vcluster

USUAL = {
    **dict.fromkeys(("history", "prices", "page", "json", "csv", "metrics", "tenant_pages", "tenant")),
    **dict.fromkeys(("patch", "inventory")),
    **{"retention": "1100d", "mode": "0640"},
}


def options(**given: Any) -> UsageOptions:
    return UsageOptions.of({**USUAL, **given})


@pytest.mark.parametrize(("mode", "value"), [("0600", 0o600), ("0640", 0o640), ("0777", 0o777)])
def test_modes(mode: str, value: int) -> None:
    assert options(mode=mode).mode == value


@pytest.mark.parametrize("mode", ["416", "640", "0o640", "0899", "0040", "00640", " 0640", "0640\n", "0٦40", ""])
def test_mode_without_quotes_is_refused(mode: str) -> None:
    """YAML reads 0640 as 416."""
    with pytest.raises(TenantryError, match=r"mode: .* is not a file mode\. Use four octal digits in quotes"):
        options(mode=mode)


def run(
    monkeypatch: pytest.MonkeyPatch, found: Any, *, check: bool = False, warnings: list[str] | None = None, **given: Any
) -> dict[str, Any]:
    monkeypatch.setattr(gather, "take", lambda _context, _now: found)
    context: Any = SimpleNamespace(check_mode=check, warn=([] if warnings is None else warnings).append)
    return reconcile.run(context, {**USUAL, **given})


def test_pages_of_tenants_that_are_gone_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, both = str(tmp_path), sample(vcluster(), vcluster("research", "lab"))
    run(monkeypatch, both, tenant_pages=pages, page=f"{pages}/index.html")
    (tmp_path / "other.html").write_bytes((tmp_path / "research.html").read_bytes())
    (tmp_path / "about.html").write_text("of somebody else")
    (tmp_path / "link.html").symlink_to("research.html")
    kept = {"about.html", "index.html", "link.html", "other.html", "payments.html"}
    gone = sample(vcluster())
    for options in ({"check": True}, {"tenant": "payments"}):
        run(monkeypatch, gone, tenant_pages=pages, **options)
        assert {one.name for one in tmp_path.iterdir()} == {*kept, "research.html"}
    found = run(monkeypatch, gone, tenant_pages=pages)
    assert {one.name for one in tmp_path.iterdir()} == kept
    assert (found["changed"], found["files"]) == (True, [f"{pages}/research.html"])
    assert not run(monkeypatch, gone, tenant_pages=pages)["changed"]


def test_nobody_can_choose_the_file_that_is_written_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of processes repeat, in containers above all."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".index.html.{os.getpid()}").symlink_to(victim)
    run(monkeypatch, sample(vcluster()), page=str(tmp_path / "index.html"), mode="0644")
    assert victim.read_text() == "kept"
    assert (tmp_path / "index.html").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "index.html").is_symlink()


def test_file_that_cannot_be_written_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(TenantryError, match=r"index\.html: cannot be written: Is a directory\. Set another path"):
        run(monkeypatch, sample(vcluster()), page=str(tmp_path / "index.html"))
    assert [one.name for one in tmp_path.iterdir()] == ["index.html"]


def test_retention_covers_what_a_report_shows() -> None:
    """Last month, and 90 days."""
    assert options(retention="93d").kept.days == 93
    with pytest.raises(TenantryError, match=r"retention: 92d is too short\. Use 93d or more"):
        options(retention="92d")


def test_price_of_an_unknown_cluster_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer is known, and so is one that the history knows."""
    warnings: list[str] = []
    history, price = str(tmp_path / "history.sqlite"), {"cpu_hour": 1}
    former = sample(clusters=(host(), host("former")), time=NOW - timedelta(days=2))
    run(monkeypatch, former, history=history)
    prices = {"clusters": dict.fromkeys(("hub", "former", "lost", "edgy", "nowhere"), price)}
    found = sample(clusters=(host(), host("edge")), missing={"lost": "no answer"})
    run(monkeypatch, found, history=history, prices=prices, warnings=warnings)
    assert warnings == [
        "prices.clusters: edgy is not in the fleet (did you mean edge?), so its prices do nothing. Correct the name",
        "prices.clusters: nowhere is not in the fleet, so its prices do nothing. Correct the name",
    ]


def test_patch_needs_history_and_inventory(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match=r"patch: needs history\. Set history too, or omit patch"):
        options(patch="sizing.patch", inventory=str(tmp_path))
    with pytest.raises(TenantryError, match=r"patch: needs inventory\. "):
        options(patch="sizing.patch", history="usage.sqlite")


def test_patch_has_what_can_be_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result names the rest."""
    now = sample(vcluster(limited=amounts(2, 4), used=amounts("0.5", 1)))
    with open_history(tmp_path / "usage.sqlite", writable=True) as history:
        for back in reversed(range(170)):
            history.add(replace(now, time=NOW - timedelta(hours=back)), timedelta(days=1100))
    tenants = "tenantry_tenants:\n- name: payments\n  quota: {cpu: 8, memory: '{{ much }}'}\n"
    (tmp_path / "all.yml").write_text(tenants)
    given = {"history": str(tmp_path / "usage.sqlite"), "patch": str(tmp_path / "x"), "inventory": str(tmp_path)}
    found = run(monkeypatch, now, **given, json=str(tmp_path / "json"), mode="0644")
    assert found["files"] == [str(tmp_path / "json"), given["patch"]]
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("json", "x")] == [0o644, 0o600]
    assert "\n-  quota: {cpu: 8, memory: '{{ much }}'}\n+  quota: {cpu: 5, memory: '{{ much }}'}\n" in (
        (tmp_path / "x").read_text()
    )
    rows = {(one["vcluster"], one["resource"]): one for one in found["sizing"]}
    assert rows[None, "cpu"] == {
        **{"tenant": "payments", "vcluster": None, "resource": "cpu", "current": "8", "proposed": "5"},
        **{"reason": "resources of 4, 95th percentile 4", "left_out": None},
    }
    assert rows[None, "memory"]["left_out"].startswith("the inventory has another amount or an expression")
    assert rows["dev", "cpu"]["left_out"] == "not in the inventory"
    assert {one["left_out"] for one in run(monkeypatch, now, history=given["history"])["sizing"]} == {None}
    assert run(monkeypatch, now)["sizing"] == []
