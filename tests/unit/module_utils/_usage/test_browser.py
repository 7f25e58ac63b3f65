"""The page in a real browser: it opens fast, fits, is accessible, and text of tenants does nothing."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage import page, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Past

from .browser import BINARY, WHY_NOT, Tab, browser
from .fleet import sample, simulated, vcluster
from .test_page import fleet
from .test_report import PRICES

pytestmark = [pytest.mark.nightly, pytest.mark.skipif(not BINARY, reason=WHY_NOT)]
PICTURES = os.environ.get("TENANTRY_PICTURES")  # a directory for screenshots, to look at
PAYLOAD = '"><img src=x onerror="document.title=\'run\'"><script>document.title="run"</script>'
WIDTHS = [320, 390, 768, 1440, 3840]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def large() -> dict[str, Any]:
    """A report of 100 tenants with 1,000 virtual clusters and 90 days, whose lines are waves."""
    found = report.build(next(simulated(100, 1000)), Past(), PRICES)
    for number, one in enumerate(found["tenants"]):
        wave = [round(40 + 20 * math.sin((day + number) / 3), 3) for day in range(90)]
        one["days"] = {"cpu_requested": [60 + value / 9 for value in wave], "cpu_used": wave}
        one["cost"]["days"] = wave
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page.render(large()))
    return path


def test_100_tenants_with_1000_virtual_clusters_open_within_2_seconds(tab: Tab, whole: Path) -> None:
    seconds = min(tab.open(whole) for _run in range(3))
    assert tab.run("document.querySelectorAll('#vclusters-table tbody tr').length") == 1000
    assert seconds <= 2


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_width_scrolls_sideways(tab: Tab, whole: Path, width: int, dark: bool) -> None:
    tab.open(whole, width, width * 2 if width < 600 else 1200, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    if PICTURES:
        tab.picture(Path(PICTURES) / f"usage-{width}{'-dark' if dark else ''}.png")


def test_text_of_tenants_runs_nothing(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page.render(report.build(fleet(PAYLOAD), Past(), PRICES)))
    tab.open(path)
    assert tab.run("document.title") == "Usage of the fleet"
    assert tab.run("document.querySelectorAll('img').length") == 0
    assert tab.run("document.body.textContent.split('<img src=x').length") > 8, "the text is there"


def test_markup_of_tenants_would_run(tab: Tab, tmp_path: Path) -> None:
    """Positive control: not escaped, on a page without the policy, the same text runs. With the policy it does not."""
    text = page.render(report.build(fleet("x"), Past(), PRICES)).replace("<h1>", f"{PAYLOAD}<h1>")
    path = tmp_path / "page.html"
    for content, title in ((text, "Usage of the fleet"), (text.replace("Content-Security-Policy", "none"), "run")):
        path.write_text(content)
        tab.open(path)
        tab.run("new Promise(done => setTimeout(done, 200))")  # the image fails a moment later; nothing tells when
        assert tab.run("document.title") == title


def test_tables_sort_and_filter(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    ones = [vcluster("payments", "b"), vcluster("research", "a"), vcluster("research", "c", cluster="hub")]
    path.write_text(page.render(report.build(sample(*ones), Past(), PRICES)))
    tab.open(path)
    rows = "[...document.querySelectorAll('#vclusters-table tbody tr')]"
    names = f"{rows}.filter(row => !row.hidden).map(row => row.cells[0].dataset.value)"
    assert tab.run(names) == ["payments/b", "research/a", "research/c"]
    head = "document.querySelector('#vclusters-table thead button')"
    tab.run(f"{head}.click(), {head}.click()")
    assert tab.run(names) == ["research/c", "research/a", "payments/b"]
    assert tab.run(f"{head}.parentNode.getAttribute('aria-sort')") == "descending"
    search = "document.querySelector('input[data-table=vclusters-table]')"
    tab.run(f"{search}.value = 'research A', {search}.dispatchEvent(new Event('input'))")
    assert tab.run(names) == ["research/c", "research/a"]
    tab.run(f"{search}.value = 'research/a', {search}.dispatchEvent(new Event('input'))")
    assert tab.run(names) == ["research/a"]


def test_page_is_whole_without_scripts(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page.render(report.build(sample(vcluster()), Past(), PRICES)))
    tab.open(path, scripts=False)
    assert tab.run("[...document.querySelectorAll('input')].every(one => one.hidden)")
    assert "payments/dev" in tab.run("document.body.innerText")
    tab.open(path)
    assert not tab.run("[...document.querySelectorAll('input')].some(one => one.hidden)"), "positive control"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not shutil.which("npm"):
        pytest.skip("there is no npm on PATH, which brings axe-core")
    where = tmp_path_factory.mktemp("axe")
    packed = subprocess.run(["npm", "pack", "axe-core@4"], cwd=where, capture_output=True, text=True, check=False)
    if packed.returncode:
        pytest.skip(f"npm cannot bring axe-core: {packed.stderr.strip()[-200:]}")
    subprocess.run(["tar", "xzf", packed.stdout.strip()], cwd=where, check=True)
    return (where / "package/axe.min.js").read_text()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_page_has_no_barrier_that_axe_knows(tab: Tab, axe: str, tmp_path: Path, dark: bool, width: int) -> None:
    path = tmp_path / "page.html"
    found = report.build(next(simulated(5, 12)), Past(), PRICES)
    path.write_text(page.render(found))
    tab.open(path, width, 900, dark=dark)
    tab.run(f"{axe}; 0")
    result = json.loads(
        tab.run("axe.run().then(one => JSON.stringify(one.violations.map(v => [v.id, v.nodes[0].html])))")
    )
    assert result == []
