# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""
Whether a virtual cluster is in use, by what its API server counts about itself. Pure.

Two numbers: requests of persons, who have a class of requests of their own (FlowSchema), and changes of workloads,
whoever makes them. What only reports (a status, a binding, a lease) is no change. The start of the server is part of
the sample, because the counters begin anew with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import PEOPLE

WORKLOADS = frozenset(
    {"cronjobs", "daemonsets", "deployments", "jobs", "pods", "replicasets", "replicationcontrollers", "statefulsets"}
)
CHANGES = frozenset({"APPLY", "DELETE", "DELETECOLLECTION", "PATCH", "POST", "PUT"})
_LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def sample(metrics: str) -> list[int]:
    """Start of the server, requests of persons, changes of workloads."""
    start = persons = changes = 0
    for name, labels, value in _lines(metrics):
        if name == "process_start_time_seconds":
            start = int(value)
        elif name == "apiserver_flowcontrol_dispatched_requests_total" and labels["flow_schema"].startswith(PEOPLE):
            persons += int(value)
        elif name == "apiserver_request_total" and _is_change(labels):
            changes += int(value)
    return [start, persons, changes]


def _is_change(labels: dict[str, str]) -> bool:
    return (
        labels["verb"] in CHANGES
        and labels["resource"] in WORKLOADS
        and labels["subresource"] in ("", "scale")
        and labels["code"].startswith("2")
        and not labels["dry_run"]
    )


def _lines(metrics: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in metrics.splitlines():
        if line.startswith(("apiserver_request_total{", "apiserver_flowcontrol_dispatched", "process_start_time")):
            match = _LINE.fullmatch(line)
            if match:
                yield match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])
