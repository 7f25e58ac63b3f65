"""Runs things several times and prints every run and the median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

RUNS = 3


def nothing() -> None:
    pass


def seconds(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def timed(
    title: str,
    action: Callable[[], object],
    before: Callable[[], object] = nothing,
    after: Callable[[], object] = nothing,
) -> float:
    """The median seconds of the action."""
    runs = []
    for _run in range(RUNS):
        before()
        runs.append(seconds(action))
        after()
    return printed(title, runs)


def compared(
    ours: str, baseline: str, run_ours: Callable[[], float], run_baseline: Callable[[], float], runs: int
) -> tuple[float, float]:
    """Medians of the one and of the other, run in turns, so that what else the machine does hits both."""
    pairs = [(run_ours(), run_baseline()) for _run in range(runs)]
    one = printed(ours, [pair[0] for pair in pairs])
    other = printed(baseline, [pair[1] for pair in pairs])
    print(f"  ratio: {one / other:.2f}", flush=True)
    return one, other


def printed(title: str, runs: list[float]) -> float:
    median = statistics.median(runs)
    print(f"{title}: median {median:.2f} ({', '.join(f'{value:.2f}' for value in runs)})", flush=True)
    return median
