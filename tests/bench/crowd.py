"""Many virtual clusters at once: made, left alone, deleted; and how soon the module sees that one is ready.

Half of them are on the hub and half on the member, so that what they hold fits. Servers only: no nodes, no syncers.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..lab.harness import kubectl, lab, run_module
from . import vclusters
from .measure import RUNS, printed, seconds, timed

TENANT = "crowd"
# What is held of the machines' two processors must fit for all.
SERVER = {"cpu": "250m", "memory": "768Mi"}
NOTICED_WITHIN = 0.5
NOTHING_WITHIN = 3.0

_ASKING = """
import ssl, sys, time, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
while True:
    try:
        urllib.request.urlopen(f"https://{sys.argv[1]}:6443/readyz", timeout=1, context=context)
        break
    except OSError:
        time.sleep(0.02)
print(time.time())
"""


def create_and_delete(count: int) -> None:
    """`count` at once, and one alone as the baseline, in turns."""
    one: dict[str, list[float]] = {"create": [], "delete": []}
    many: dict[str, list[float]] = {"create": [], "delete": []}
    with tenant():
        for _run in range(RUNS):
            for size, found in ((1, one), (count, many)):
                found["create"].append(seconds(lambda size=size: _run_module(size)))
                found["delete"].append(seconds(lambda size=size: _run_module(size, state="absent")))
    for what in ("create", "delete"):
        end = "API ready" if what == "create" else "volume gone"
        alone = printed(f"one virtual cluster: {what}, {end} (the baseline)", one[what])
        together = printed(f"{count} at once: {what}, {end}, for all", many[what])
        print(f"  {count} one after another would take {count * alone:.1f}; ratio {together / (count * alone):.2f}")


def nothing_to_change(count: int) -> None:
    with tenant():
        free = _available()
        try:
            _run_module(count)
            time.sleep(30)  # what they hold when the start is over
            taken = (free - _available()) / count
            print(
                f"clusters per GiB: {1024 / taken:.2f}, {taken:.0f} MiB of the machine for each of {count}, server only"
            )
            one = timed("rerun of one, nothing to change (the baseline)", lambda: _run_module(1))
            all_ = timed(f"rerun of {count}, nothing to change", lambda: _run_module(count))
            print(f"  ratio {all_ / one:.2f}; {'within' if all_ <= NOTHING_WITHIN else 'OVER'} {NOTHING_WITHIN} s")
        finally:
            _run_module(count, state="absent")


def noticed() -> None:
    """From the first answer of /readyz that says ready, asked at its pod, until the module and kubectl know."""
    module, rollout = [], []
    with tenant():
        for _run in range(RUNS):
            ours, theirs = _notice()
            module.append(ours)
            rollout.append(theirs)
            _run_module(1, state="absent")
    baseline = printed("API ready until `kubectl rollout status` of its server ends (the baseline)", rollout)
    ours = printed("API ready until the module knows", module)
    print(f"  difference {ours - baseline:+.2f}; {'within' if ours <= NOTICED_WITHIN else 'OVER'} {NOTICED_WITHIN} s")


def _notice() -> tuple[float, float]:
    """How long after the API was ready the module knew, and `kubectl rollout status`."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        progress = Path(directory) / "progress"
        _run_module(1, wait=False)
        words = ["-n", f"{TENANT}--c0", "--timeout=120s"]
        kubectl(vclusters.HUB, "wait", "pod/server-0", "--for=jsonpath={.status.podIP}", *words)
        rollout = threading.Thread(
            target=lambda: (
                kubectl(vclusters.HUB, "rollout", "status", "statefulset/server", *words),
                times.update(kubectl=time.time()),
            )
        )
        waiting = threading.Thread(target=lambda: _first_line(progress, "server ready", times))
        for thread in (rollout, waiting):
            thread.start()
        os.environ["TENANTRY_PROGRESS"] = str(progress)
        try:
            module = threading.Thread(target=lambda: _run_module(1))
            module.start()
            times["api"] = _answers()
            for thread in (rollout, waiting, module):
                thread.join()
        finally:
            del os.environ["TENANTRY_PROGRESS"]
    return times["module"] - times["api"], times["kubectl"] - times["api"]


def _answers() -> float:
    """
    When /readyz first said ready, asked again and again at the pod itself: a Service leads to it only later.

    Asked on the node, whose clock is this machine's. The CA is not known yet, and no secret is sent.
    """
    path = "jsonpath={.status.podIP}"
    address = kubectl(vclusters.HUB, "get", "pod", "server-0", "-n", f"{TENANT}--c0", "-o", path).stdout
    return float(lab("ssh", "hub", f"python3 -c {shlex.quote(_ASKING)} {address}"))


def _first_line(file: Path, text: str, times: dict[str, float]) -> None:
    end = time.time() + 120
    while time.time() < end:
        if file.exists() and text in file.read_text():
            times["module"] = time.time()
            return
        time.sleep(0.01)


def _run_module(count: int, *, wait: bool = True, state: str = "present") -> None:
    shape: dict[str, object] = {"state": state}
    if state == "present":
        shape |= {"mode": "dedicated", "version": vclusters.version(), "server": SERVER}
    items = [{"tenant": TENANT, "name": f"c{n}", "host": ("hub", "edge")[n % 2], **shape} for n in range(count)]
    result = run_module("vcluster", kubeconfig=str(vclusters.HUB), vclusters=items, wait=wait)
    if result.failed:
        raise SystemExit(f"bench: {result.msg}")


@contextlib.contextmanager
def tenant() -> Iterator[None]:
    quota = {"cpu": "100", "memory": "100Gi", "storage": "500Gi", "pods": 100, "vclusters": 50}
    arguments = {"kubeconfig": str(vclusters.HUB), "tenant": TENANT}
    made = run_module("tenant_quota", **arguments, quota=quota)
    if made.failed:
        raise SystemExit(f"bench: {made.msg}")
    try:
        yield
    finally:
        run_module("tenant_quota", **arguments, state="absent")


def _available() -> float:
    """MiB of the machine that all of the lab runs on."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable"))
