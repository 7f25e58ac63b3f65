"""What is made of a report of Kubernetes' conformance tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import page, results, subject
from tests.conformance.results import Expected, LeftOut, Result

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite name="Kubernetes e2e suite">
  <testcase name="[It] [sig-node] Pods should run [NodeConformance] [Conformance] [sig-node, Conformance]" time="3.5"/>
  <testcase name="[It] [sig-apps] Job should end [Conformance] [sig-apps, Conformance]" time="9">
    <failure message="timed out &#xA;after" type="failed"/>
  </testcase>
  <testcase name="[It] [sig-node] Pods should panic [Conformance] [Conformance]" time="1">
    <error message="nil"/>
  </testcase>
  <testcase name="[It] [sig-node] HostPort should work [Conformance] [sig-node]"><skipped message="skipped"/></testcase>
  <testcase name="[It] [sig-storage] Disks should spin [sig-storage]" time="1"/>
  <testcase name="[SynchronizedBeforeSuite]" time="1"/>
</testsuite></testsuites>
"""
RUNS = "[sig-node] Pods should run [NodeConformance] [Conformance]"
ENDS = "[sig-apps] Job should end [Conformance]"
PANICS = "[sig-node] Pods should panic [Conformance]"
PORTS = "[sig-node] HostPort should work [Conformance]"


@pytest.fixture
def found(tmp_path: Path) -> list[Result]:
    report = tmp_path / "junit.xml"
    report.write_text(REPORT)
    return results.read_junit(report)


def expecting(*left_out: str, **failures: str) -> Expected:
    return Expected(tuple(LeftOut(f"reason for {match}", (match,)) for match in left_out), failures)


def test_names_are_those_of_kubernetes_and_others_are_left_aside(found: list[Result]) -> None:
    assert {one.name: one.outcome for one in found} == {
        RUNS: "passed",
        ENDS: "failed",
        PANICS: "failed",
        PORTS: "skipped",
    }
    assert {one.area for one in found} == {"sig-node", "sig-apps"}


def test_green_is_only_what_is_expected_to_the_last_test(found: list[Result]) -> None:
    verdict = results.judge(found, expecting("HostPort", **{ENDS: "slow", PANICS: "no"}))
    assert not verdict.red
    assert [one.name for one in verdict.known] == [ENDS, PANICS]
    assert verdict.left_out == {"reason for HostPort": 1}


def test_an_unknown_failure_is_red(found: list[Result]) -> None:
    verdict = results.judge(found, expecting("HostPort", **{ENDS: "slow"}))
    assert verdict.red
    assert [one.name for one in verdict.unknown] == [PANICS]
    assert any("no reason is known" in line and PANICS in line for line in page.summary(verdict))


def test_an_expected_failure_that_passes_is_red(found: list[Result]) -> None:
    verdict = results.judge(found, expecting("HostPort", **{ENDS: "slow", PANICS: "no", RUNS: "cannot"}))
    assert verdict.red
    assert [one.name for one in verdict.better] == [RUNS]


def test_a_reason_for_what_does_not_run_is_red_in_a_whole_run_only(found: list[Result]) -> None:
    expected = expecting("HostPort", **{ENDS: "slow", PANICS: "no", "[sig-x] gone [Conformance]": "old"})
    assert results.judge(found, expected).gone == ["[sig-x] gone [Conformance]"]
    assert not results.judge(found, expected, whole=False).red


def test_nothing_passed_is_red() -> None:
    assert results.judge([], expecting()).red


def test_what_a_test_skips_by_itself_is_distinguished_from_what_is_left_out(found: list[Result]) -> None:
    verdict = results.judge(found, expecting())
    assert [one.name for one in verdict.skipped] == [PORTS]
    assert not verdict.left_out


def test_the_page_has_counts_and_a_reason_for_each_failure_of_each_mode(found: list[Result]) -> None:
    expected = expecting("HostPort", **{ENDS: "slow"})
    circumstances = page.Circumstances("2026-01-02", "v1.2.3", "2 processors", minutes=12.3, processes=4)
    one = page.Run("shared", circumstances, expected, results.judge(found, expected))
    ports = Result(PORTS, "passed", 1.0)
    again = replace(circumstances, again=2)
    other = replace(one, mode="dedicated", circumstances=again, verdict=results.judge([ports], expecting()))
    text = page.page([one, other])
    assert "2 of 4 tests pass in one mode or the other." in text
    shared, dedicated = text.split("## Mode `dedicated`")
    assert "| all | 1 | 2 | 0 |" in shared
    assert f"- `{ENDS}`: slow" in shared
    assert f"- `{PANICS}`: no reason known" in shared
    assert "- 1: reason for HostPort" in shared
    assert "2026-01-02, Kubernetes v1.2.3, one node with 2 processors, 4 tests at a time, 12 minutes." in shared
    assert "| all | 1 | 0 | 0 |" in dedicated
    assert "12 minutes. 2 tests that had failed were run again" in dedicated
    assert "None." in dedicated
    assert "Left out" not in dedicated


def test_later_results_take_the_place_of_earlier_ones_if_the_test_ran(found: list[Result]) -> None:
    later = [Result(ENDS, "passed", 1.0), Result(PANICS, "skipped", 0.0)]
    outcomes = {one.name: one.outcome for one in results.merged(found, later)}
    assert outcomes == {RUNS: "passed", ENDS: "passed", PANICS: "failed", PORTS: "skipped"}


def test_what_is_left_out_since_then_has_not_failed(found: list[Result]) -> None:
    expected = expecting("HostPort", "panic", **{ENDS: "slow"})
    verdict = results.judge(results.now_left_out(found, expected), expected)
    assert not verdict.red
    assert verdict.left_out == {"reason for HostPort": 1, "reason for panic": 1}


@pytest.mark.parametrize("mode", subject.MODES)
def test_the_expectations_kept_can_be_read_and_name_conformance_tests(mode: str) -> None:
    expected = Expected.read(Path(results.__file__).with_name("expected.yml"), mode)
    assert all(name.endswith(results.CONFORMANCE) for name in expected.failures)
    assert all(one.reason for one in expected.left_out)
