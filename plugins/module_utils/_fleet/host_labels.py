# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels and taints of a host in the fleet, by which placements select it: annotations on the hub. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import labels
from ansible_collections.tenantry.kube.plugins.module_utils._core.labels import Taint

LABELS_ANNOTATION = "tenantry.dev/labels"
TAINTS_ANNOTATION = "tenantry.dev/taints"
TAINT = {"key": {"type": "str", "required": True, "no_log": False}, "value": {"type": "str"}}
OPTIONS: dict[str, dict] = {
    "labels": {"type": "dict"},
    "taints": {"type": "list", "elements": "dict", "options": TAINT},
}


@dataclass(frozen=True)
class HostLabels:
    """The labels and taints of a host. None of desired ones: those that it has."""

    labels: Mapping[str, str] | None = None
    taints: tuple[Taint, ...] | None = None

    @classmethod
    def desired(cls, item: Mapping[str, Any]) -> HostLabels:
        """Validate the options of an item. Raise a TenantryError."""
        given, taints = item["labels"], item["taints"]
        return cls(
            None if given is None else labels.check_labels(given, "labels"),
            None if taints is None else labels.check_taints(taints, "taints"),
        )

    @classmethod
    def of(cls, obj: dict | None) -> HostLabels:
        """Read those of a member from its Secret, and those of the hub from the platform's namespace."""
        notes = (obj["metadata"].get("annotations") or {}) if obj else {}
        taints = json.loads(notes.get(TAINTS_ANNOTATION) or "[]")
        return cls(json.loads(notes.get(LABELS_ANNOTATION) or "{}"), tuple(Taint(**one) for one in taints))

    def over(self, existing: HostLabels) -> HostLabels:
        """Return these, and the existing ones where these are not set."""
        return HostLabels(
            existing.labels if self.labels is None else self.labels,
            existing.taints if self.taints is None else self.taints,
        )

    def annotations(self) -> dict[str, str]:
        """Return the annotations. There is none for what is empty."""
        found = {LABELS_ANNOTATION: self.labels, TAINTS_ANNOTATION: self._taints()}
        return {key: json.dumps(value, sort_keys=True) for key, value in found.items() if value}

    def as_row(self) -> dict[str, Any]:
        """Return them in plain types, for the result."""
        return {"labels": dict(self.labels or {}), "taints": self._taints()}

    def _taints(self) -> list[dict[str, str]]:
        return [asdict(one) for one in self.taints or ()]
