# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts, groups and variables for the rows of clusters. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Of all virtual clusters, and of the clusters that they run on.
VCLUSTERS = "tenantry_vclusters"
FLEET = "tenantry_fleet"
UNREACHABLE = "status_unreachable"

# Prefix of the groups by field of a virtual cluster's row.
GROUPED_BY = {
    "tenant": "tenant",
    "host": "cluster",
    "mode": "mode",
    "tier": "tier",
    "status": "status",
    "version": "version",
}
# Of the hosts for the hub and the members. In the inventory of the platform, the machines have the same names. A host
# with the variables of both would let a playbook change the machine that runs Ansible.
SUFFIX = ".fleet"
LONGEST_VALUE = 63  # of names and labels in Kubernetes; a version is what an API server says

# The variables of a host that are templates: the only ones that Ansible may evaluate.
TEMPLATES = {
    # That of Ansible itself, which has the libraries that Kubernetes modules need.
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    "cluster_kubeconfig": (
        "{{ lookup('tenantry.kube.kubeconfig', cluster_name, host=cluster_host, file=true, **tenantry_hub) }}"
    ),
}


@dataclass(frozen=True)
class Host:
    """A host of the inventory. Its variables are data, and `TEMPLATES` beside them."""

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]


def hosts(rows: Mapping[str, Iterable[Mapping[str, Any]]], hub: Mapping[str, Any]) -> Iterator[Host]:
    """One for each row of `fleet` and `vclusters`. `hub` has the options by which the lookup connects to it."""
    for row in rows["fleet"]:
        state = () if row["reachable"] else (UNREACHABLE,)
        variables = {"fleet_cluster": row, **_connection(row["name"], row["name"], hub)}
        yield Host(row["name"] + SUFFIX, (FLEET, *state), variables)
    for row in rows["vclusters"]:
        groups = (VCLUSTERS, *(group(prefix, row[field]) for field, prefix in GROUPED_BY.items() if row.get(field)))
        yield Host(row["namespace"], groups, {"vcluster": row, **_connection(row["namespace"], row["host"], hub)})


def _connection(name: str, host: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    return {"ansible_connection": "local", "cluster_name": name, "cluster_host": host, "tenantry_hub": dict(hub)}


def group(prefix: str, value: object) -> str:
    """A name that is valid for a group, whatever the value: `status_not_ready`, `version_v1_34_1_k3s1`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(value)[:LONGEST_VALUE])
    return f"{prefix}_{re.sub(r'[^a-z0-9]', '_', words.lower())}"
