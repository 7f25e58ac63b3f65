"""Runs the conformance tests of Kubernetes inside a virtual cluster of each mode: `make conformance`.

Red if a test fails that is not expected to, or one that is expected to fail passes: `expected.yml` has the reasons.
A run of all tests in all modes writes `docs/conformance.md`,
and so does `--failed` after it. Logs, reports and kubeconfigs are in `build/conformance`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from ..lab.harness import KUBECTL, ROOT
from ..lab.tenantry_lab.config import BUILT_VERSION, Lab, LabError
from ..lab.tenantry_lab.process import exclusive, say, step
from . import page, parts, results, subject

EXPECTED = Path(__file__).with_name("expected.yml")
PAGE = ROOT / "docs" / "conformance.md"
# With many more at once, two processors would make tests run into their own time limits.
PROCESSES = 8
TIME_LIMIT = "90m"
FINISHED = re.compile(r"^• (?:\[(?P<bad>[A-Z!]+)\] )?\[(?P<seconds>[\d.]+) seconds\]")


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.keep and len(arguments.mode or ()) != 1:
        parser.error("--keep leaves one virtual cluster: choose its --mode")
    if arguments.focus and arguments.failed:
        parser.error("--focus and --failed each choose the tests: give one of them")
    lab = Lab.from_environment(os.environ)
    with exclusive(lab.dir):
        parts.build(lab)
    runs = [_in_mode(lab, mode, arguments) for mode in arguments.mode or subject.MODES]
    for run in runs:
        for line in page.summary(run.verdict):
            print(f"{run.mode}: {line}")
    if not arguments.focus and not arguments.mode:
        PAGE.write_text(page.page(runs))
    return int(any(run.verdict.red for run in runs))


def _in_mode(lab: Lab, mode: str, arguments: argparse.Namespace) -> page.Run:
    expected = results.Expected.read(EXPECTED, mode)
    if arguments.failed:
        return _again(lab, mode, expected, arguments)
    start, report = time.monotonic(), _report(mode)
    _run(lab, mode, expected, arguments, focus=arguments.focus, report=report)
    circumstances = page.Circumstances(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        version=BUILT_VERSION,
        machine=_machine(),
        minutes=(time.monotonic() - start) / 60,
        processes=arguments.processes,
    )
    if not arguments.focus:
        report.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(circumstances)))
    verdict = results.judge(results.read_junit(report), expected, whole=not arguments.focus)
    return page.Run(mode, circumstances, expected, verdict)


def _again(lab: Lab, mode: str, expected: results.Expected, arguments: argparse.Namespace) -> page.Run:
    """What failed in the last full run of this mode without a reason, run once more."""
    report = _report(mode)
    if not report.with_suffix(".json").exists():
        raise LabError(f"{report.parent} has no full run of mode {mode}; run it without --failed first")
    found = results.now_left_out(results.read_junit(report), expected)
    failed = results.judge(found, expected).unknown
    if failed:
        again = report.with_name(f"{mode}-again.xml")
        focus = "|".join(re.escape(one.name.removesuffix(results.CONFORMANCE).strip()) for one in failed)
        _run(lab, mode, expected, arguments, focus=focus, report=again)
        found = results.merged(found, results.read_junit(again))
    kept = json.loads(report.with_suffix(".json").read_text())
    circumstances = page.Circumstances(**kept | {"again": len(failed)})
    return page.Run(mode, circumstances, expected, results.judge(found, expected))


def _report(mode: str) -> Path:
    return subject.DIRECTORY / f"{mode}.xml"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--focus", default="", metavar="REGEX", help="only tests whose name this is found in")
    parser.add_argument("--failed", action="store_true", help="only what failed in the last full run without a reason")
    parser.add_argument("--mode", action="append", choices=subject.MODES, help="default: one after the other")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N", help="default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave the virtual cluster for a look")
    return parser


def _run(
    lab: Lab, mode: str, expected: results.Expected, arguments: argparse.Namespace, *, focus: str, report: Path
) -> None:
    log = report.with_suffix(".log")
    with subject.virtual_cluster(lab, mode, keep=arguments.keep) as kubeconfig:
        report.unlink(missing_ok=True)
        command = _command(lab, kubeconfig, expected, focus, arguments.processes, report)
        _follow(command, log)
    if not report.exists():
        raise LabError(f"the tests wrote no report; the end of {log} says why")


def _follow(command: list[str], log: Path) -> None:
    """Run the tests, and show a line for each that ends."""
    registries = subject.DIRECTORY / "registries.yaml"
    registries.write_text(yaml.safe_dump(parts.REGISTRIES))
    environment = os.environ | {
        # Not in the user's home, where what another lab at the same address could do is remembered.
        "KUBECACHEDIR": str(subject.DIRECTORY / "kubectl-cache"),
        # Not as an argument, which is read after some of the tests have looked up their images.
        "KUBE_TEST_REPO_LIST": str(registries),
    }
    with (
        step("conformance tests"),
        log.open("w") as whole,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run,
    ):
        finished, told = None, 0
        for line in run.stdout:
            whole.write(line)
            if finished:
                told += 1
                outcome, seconds = finished["bad"] or "passed", float(finished["seconds"])
                say(f"{told:>4} {outcome:<8} {seconds:6.1f} s  {results.plain(line)}")
            finished = FINISHED.match(line)


def _command(
    lab: Lab, kubeconfig: Path, expected: results.Expected, focus: str, processes: int, report: Path
) -> list[str]:
    return [
        str(lab.bin / parts.GINKGO.name),
        f"--procs={processes}",
        f"--timeout={TIME_LIMIT}",
        "--no-color",
        "-v",
        f"--output-dir={subject.DIRECTORY}",
        f"--junit-report={report.name}",
        f"--focus=({focus}).*{re.escape(results.CONFORMANCE)}",
        *(f"--skip={pattern}" for one in expected.left_out for pattern in one.match),
        str(lab.bin / parts.TESTS.name),
        "--",
        f"--kubeconfig={kubeconfig}",
        "--provider=skeleton",
        f"--kubectl-path={KUBECTL}",
    ]


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} processors and {memory:.0f} GiB of memory"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"conformance: {error}", file=sys.stderr)
        sys.exit(1)
