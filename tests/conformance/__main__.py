"""Runs the conformance tests of Kubernetes inside a virtual cluster of mode shared: `make conformance`.

Red if a test fails that is not expected to, or one that is expected to fail passes: `expected.yml` has the reasons.
A run of all tests writes `docs/conformance.md`. The log, the report and the kubeconfigs are in `build/conformance`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from ..lab.harness import K3S, ROOT
from ..lab.tenantry_lab.config import BUILT_VERSION, Lab, LabError
from ..lab.tenantry_lab.process import exclusive, say, step
from . import page, parts, results, subject

EXPECTED = Path(__file__).with_name("expected.yml")
PAGE = ROOT / "docs" / "conformance.md"
LOG = subject.DIRECTORY / "run.log"
REPORT = "junit.xml"
# With many more at once, two processors would make tests run into their own time limits.
PROCESSES = 8
TIME_LIMIT = "90m"
FINISHED = re.compile(r"^• (?:\[(?P<bad>[A-Z!]+)\] )?\[(?P<seconds>[\d.]+) seconds\]")


def main() -> int:
    arguments = _parser().parse_args()
    lab = Lab.from_environment(os.environ)
    expected = results.Expected.read(EXPECTED)
    with exclusive(lab.dir):
        parts.build(lab)
    start = time.monotonic()
    with subject.virtual_cluster(lab, keep=arguments.keep) as kubeconfig:
        _run(lab, kubeconfig, expected, arguments)
    whole = not arguments.focus
    verdict = results.judge(results.read_junit(subject.DIRECTORY / REPORT), expected, whole=whole)
    for line in page.summary(verdict):
        print(line)
    if whole:
        run = page.Run(
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            version=BUILT_VERSION,
            machine=_machine(),
            minutes=(time.monotonic() - start) / 60,
            processes=arguments.processes,
        )
        PAGE.write_text(page.page(run, verdict, expected))
    return int(verdict.red)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--focus", default="", metavar="REGEX", help="only tests whose name this is found in")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N", help="default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave the virtual cluster for a look")
    return parser


def _run(lab: Lab, kubeconfig: Path, expected: results.Expected, arguments: argparse.Namespace) -> None:
    (subject.DIRECTORY / REPORT).unlink(missing_ok=True)
    command = _command(lab, kubeconfig, expected, arguments)
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
        LOG.open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run,
    ):
        finished, told = None, 0
        for line in run.stdout:
            log.write(line)
            if finished:
                told += 1
                outcome, seconds = finished["bad"] or "passed", float(finished["seconds"])
                say(f"{told:>4} {outcome:<8} {seconds:6.1f} s  {results.plain(line)}")
            finished = FINISHED.match(line)
    if not (subject.DIRECTORY / REPORT).exists():
        raise LabError(f"the tests wrote no report; the end of {LOG} says why")


def _command(lab: Lab, kubeconfig: Path, expected: results.Expected, arguments: argparse.Namespace) -> list[str]:
    kubectl = subject.DIRECTORY / "kubectl"
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(K3S)
    return [
        str(lab.bin / parts.GINKGO.name),
        f"--procs={arguments.processes}",
        f"--timeout={TIME_LIMIT}",
        "--no-color",
        "-v",
        f"--output-dir={subject.DIRECTORY}",
        f"--junit-report={REPORT}",
        f"--focus=({arguments.focus}).*{re.escape(results.CONFORMANCE)}",
        *(f"--skip={pattern}" for one in expected.left_out for pattern in one.match),
        str(lab.bin / parts.TESTS.name),
        "--",
        f"--kubeconfig={kubeconfig}",
        "--provider=skeleton",
        f"--kubectl-path={kubectl}",
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
