"""What came out of a run, held against what is expected. Pure, but for reading files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import yaml

CONFORMANCE = "[Conformance]"


@dataclass(frozen=True)
class Result:
    name: str
    outcome: str  # passed, failed or skipped
    seconds: float
    message: str = ""

    @property
    def area(self) -> str:
        """Whose tests they are in Kubernetes, such as sig-node."""
        return re.match(r"\[([^]]*)\]", self.name)[1]


@dataclass(frozen=True)
class LeftOut:
    """Tests that are not run, by patterns of their names."""

    reason: str
    match: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """What is not run, and what fails, each with the reason; kept by hand."""

    left_out: tuple[LeftOut, ...]
    failures: dict[str, str]

    @classmethod
    def read(cls, path: Path, mode: str) -> Expected:
        data = yaml.safe_load(path.read_text())[mode]
        failures = {one["name"]: one["reason"] for one in data["failures"]}
        return cls(tuple(LeftOut(**one) for one in data["left_out"]), failures)

    def why_left_out(self, name: str) -> LeftOut | None:
        return next((one for one in self.left_out if re.search("|".join(one.match), name)), None)


@dataclass
class Verdict:
    passed: list[Result] = field(default_factory=list)
    known: list[Result] = field(default_factory=list)
    unknown: list[Result] = field(default_factory=list)
    better: list[Result] = field(default_factory=list)  # passed although a reason for its failure is kept
    skipped: list[Result] = field(default_factory=list)  # by the test itself
    left_out: Counter[str] = field(default_factory=Counter)  # per reason
    gone: list[str] = field(default_factory=list)  # a reason is kept for what did not run

    @property
    def red(self) -> bool:
        return bool(self.unknown or self.better or self.gone or not self.passed)

    @property
    def failed(self) -> list[Result]:
        return self.known + self.unknown

    @property
    def total(self) -> int:
        """Of all tests, those that were left out too."""
        return len(self.passed) + len(self.failed) + len(self.skipped) + self.left_out.total()


def read_junit(path: Path) -> list[Result]:
    """The conformance tests of a report; all others are of no interest."""
    cases = ElementTree.parse(path).getroot().iter("testcase")
    results = (_result(case) for case in cases if CONFORMANCE in case.get("name", ""))
    return sorted(results, key=lambda result: result.name)


def _result(case: ElementTree.Element) -> Result:
    bad = next((one for kind in ("failure", "error") if (one := case.find(kind)) is not None), None)
    skip = case.find("skipped")
    found = bad if bad is not None else skip
    return Result(
        name=plain(case.get("name", "")),
        outcome="failed" if bad is not None else "skipped" if skip is not None else "passed",
        seconds=float(case.get("time", 0)),
        message=found.get("message", "") if found is not None else "",
    )


def now_left_out(results: list[Result], expected: Expected) -> list[Result]:
    """The results, in which what has become a test that is left out did not run."""
    return [replace(one, outcome="skipped") if expected.why_left_out(one.name) else one for one in results]


def merged(results: list[Result], later: list[Result]) -> list[Result]:
    """The results, with those of a later run in the place of the same tests'."""
    known = {one.name: one for one in later if one.outcome != "skipped"}
    return [known.get(one.name, one) for one in results]


def judge(results: list[Result], expected: Expected, *, whole: bool = True) -> Verdict:
    """`whole`: all that should run did; a part of it says nothing about reasons that are kept for the rest."""
    verdict = Verdict()
    for result in results:
        if result.outcome == "skipped":
            rule = expected.why_left_out(result.name)
            if rule:
                verdict.left_out[rule.reason] += 1
            elif whole:
                verdict.skipped.append(result)
        elif result.outcome == "failed":
            (verdict.known if result.name in expected.failures else verdict.unknown).append(result)
        else:
            verdict.passed.append(result)
            if result.name in expected.failures:
                verdict.better.append(result)
    if whole:
        ran = {result.name for result in results if result.outcome != "skipped"}
        verdict.gone = sorted(set(expected.failures) - ran)
    return verdict


def plain(name: str) -> str:
    """A name without the reporters' mark of the test itself, and the labels that they put behind it."""
    name = name.strip().replace("[It] ", "", 1)
    return name[: name.index(CONFORMANCE) + len(CONFORMANCE)] if CONFORMANCE in name else name
