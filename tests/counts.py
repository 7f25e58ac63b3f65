"""Prints the counts of all test reports (JUnit XML) of a run, the last line of `make test`."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(directory: Path) -> int:
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for report in sorted(directory.glob("*.xml")):
        counts = _counts(report)
        print(f"{report.stem:>10}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        total = {name: total[name] + counts[name] for name in total}
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    return 1 if total["failed"] or not total["passed"] else 0


def _counts(report: Path) -> dict[str, int]:
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    sums = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in suites:
        sums = {name: count + int(suite.get(name, 0)) for name, count in sums.items()}
    failed = sums["failures"] + sums["errors"]
    return {
        "passed": sums["tests"] - failed - sums["skipped"],
        "failed": failed,
        "skipped": sums["skipped"],
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
