"""docs/conformance.md, and what is said at the end of a run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .results import Expected, Result, Verdict

INTRODUCTION = """<!-- Written by `make conformance`; the reasons are in tests/conformance/expected.yml. -->
# Conformance

Which of the [conformance tests of Kubernetes](https://www.cncf.io/training/certification/software-conformance/) pass
inside a virtual cluster of each mode. They are built from the Go module `k8s.io/kubernetes`, as the lab's k3s is,
and run as administrator of a virtual cluster that the collection has made in the lab. This is no certified conformance:
tests are left out, with the reasons below, and the images of the tests' pods are the lab's own (nginx stands in for
httpd, Debian's tools for busybox's).
"""


@dataclass(frozen=True)
class Circumstances:
    """Of a run of all tests in one mode. `again`: how many of them were run once more."""

    date: str
    version: str
    machine: str
    minutes: float
    processes: int
    again: int = 0

    def __str__(self) -> str:
        more = f" {self.again} tests that had failed were run again after a correction." if self.again else ""
        return (
            f"Last full run: {self.date}, Kubernetes {self.version}, one node with {self.machine}, "
            f"{self.processes} tests at a time, {self.minutes:.0f} minutes.{more}"
        )


@dataclass(frozen=True)
class Run:
    """All tests in one mode, and what came of it."""

    mode: str
    circumstances: Circumstances
    expected: Expected
    verdict: Verdict


def page(runs: list[Run]) -> str:
    return INTRODUCTION + "\n" + _in_either(runs) + "".join(map(_section, runs))


def _in_either(runs: list[Run]) -> str:
    passed = {one.name for run in runs for one in run.verdict.passed}
    return f"{len(passed)} of {max(run.verdict.total for run in runs)} tests pass in one mode or the other.\n"


def _section(run: Run) -> str:
    verdict = run.verdict
    lines = [
        f"\n## Mode `{run.mode}`\n",
        f"{run.circumstances}\n",
        *_table(verdict),
        f"\n### Failures in mode `{run.mode}`\n",
        *(f"- `{one.name}`: {run.expected.failures.get(one.name, 'no reason known')}" for one in verdict.failed),
        *([] if verdict.failed else ["None."]),
    ]
    if verdict.left_out:
        lines += [
            f"\n### Left out in mode `{run.mode}`\n",
            *(f"- {count}: {reason}" for reason, count in verdict.left_out.most_common()),
        ]
    if verdict.skipped:
        lines += [
            f"\n### Skipped by the tests themselves in mode `{run.mode}`\n",
            *(f"- `{one.name}`: {_first_line(one.message)}" for one in verdict.skipped),
        ]
    return "\n".join(lines) + "\n"


def summary(verdict: Verdict) -> Iterator[str]:
    for title, results in (
        ("fails, and no reason is known", verdict.unknown),
        ("passes, though a reason for its failure is kept", verdict.better),
    ):
        for one in results:
            yield f"{title}: {one.name}: {_first_line(one.message)}"
    for name in verdict.gone:
        yield f"did not run, though a reason for its failure is kept: {name}"
    yield (
        f"{len(verdict.passed)} passed, {len(verdict.known)} failed as expected, {len(verdict.unknown)} failed, "
        f"{len(verdict.skipped)} skipped by themselves, {verdict.left_out.total()} left out"
    )


def _table(verdict: Verdict) -> Iterator[str]:
    passed, failed, skipped = (_by_area(some) for some in (verdict.passed, verdict.failed, verdict.skipped))
    yield "| area | passed | failed | skipped |"
    yield "|---|---|---|---|"
    for area in sorted(passed | failed | skipped):
        yield f"| {area} | {passed[area]} | {failed[area]} | {skipped[area]} |"
    yield f"| all | {passed.total()} | {failed.total()} | {skipped.total()} |"
    yield f"| left out | {verdict.left_out.total()} | | |"


def _by_area(results: list[Result]) -> Counter[str]:
    return Counter(result.area for result in results)


def _first_line(text: str) -> str:
    return " ".join(text.split())[:200]
