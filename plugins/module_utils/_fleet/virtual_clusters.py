# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual clusters that exist: their namespaces on hosts, and the record on each. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

SPEC_ANNOTATION = "tenantry.dev/spec"


@dataclass(frozen=True)
class Found:
    """A virtual cluster that exists."""

    host: Cluster
    namespace: dict

    @property
    def tenant(self) -> str:
        return self.namespace["metadata"]["labels"][naming.LABEL_TENANT]

    @property
    def name(self) -> str:
        return self.namespace["metadata"]["labels"][naming.LABEL_VCLUSTER]

    @property
    def record(self) -> dict:
        return recorded(self.namespace)


def recorded(namespace: dict) -> dict:
    """The record of a virtual cluster's namespace; empty where it is missing or broken."""
    text = (namespace["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION, "{}")
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
