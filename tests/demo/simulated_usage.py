"""Write the page of a simulated fleet of 90 days, to look at: python -m tests.demo.simulated_usage FILE."""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from itertools import islice
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._usage import advice, page, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import parse_prices

from ..unit.module_utils._usage.fleet import simulated

TENANTS, VCLUSTERS, DAYS = 8, 24, 90
PRICES = {"cpu_hour": 0.031, "memory_gib_hour": 0.0042, "storage_gib_month": 0.1, "tiers": {"prod": {"cpu_hour": 0.04}}}


def main(path: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        open_history(Path(directory) / "usage.sqlite", writable=True) as history,
    ):
        for sample in islice(simulated(TENANTS, VCLUSTERS), DAYS * 24):
            history.add(sample, timedelta(days=1100))
        calendar = report.Calendar.at(sample.time)
        past = report.Past(
            list(history.vclusters("day", calendar.since)),
            list(history.clusters("day", calendar.since)),
            list(history.vclusters("hour", calendar.now - int(advice.WINDOW.total_seconds()))),
        )
    path.write_text(page.render(report.build(sample, past, parse_prices(PRICES))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
