# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the modules for virtual clusters that apply to a whole call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPTIONS: dict[str, dict] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
}


@dataclass(frozen=True)
class VClusterOptions:
    """Options that apply to each virtual cluster of a call."""

    wait: bool  # until what was changed has taken effect
    wait_timeout: int  # seconds

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> VClusterOptions:
        return cls(params["wait"], params["wait_timeout"])
