# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detect whether a virtual cluster is in use, by metrics of its API server. Pure.

Two numbers count: requests of users, who have a FlowSchema of their own, and changes of workloads by anyone. Status,
bindings and leases are not changes. The start of the server is part of the sample, because it resets the counters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import USERS_FLOW_SCHEMA

WORKLOADS = frozenset(
    {"cronjobs", "daemonsets", "deployments", "jobs", "pods", "replicasets", "replicationcontrollers", "statefulsets"}
)
CHANGES = frozenset({"APPLY", "DELETE", "DELETECOLLECTION", "PATCH", "POST", "PUT"})
_LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def sample(metrics: str) -> list[int]:
    """Return the start of the server, the requests of users and the changes of workloads."""
    start = persons = changes = 0
    for name, labels, value in _lines(metrics):
        if name == "process_start_time_seconds":
            start = int(value)
        elif name == "apiserver_flowcontrol_dispatched_requests_total" and labels["flow_schema"].startswith(
            USERS_FLOW_SCHEMA
        ):
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
