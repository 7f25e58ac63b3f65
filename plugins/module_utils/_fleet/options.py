# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the modules that set up a host: the hub or a member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import env_fallback

OPTIONS: dict[str, dict] = {
    "network_probe_image": {"type": "str", "fallback": (env_fallback, ["TENANTRY_SYNCER_IMAGE"])},
    "wait_timeout": {"type": "int", "default": 120},
}


@dataclass(frozen=True)
class HostOptions:
    """Options that apply to each host of a call."""

    probe_image: str | None
    wait_timeout: int  # seconds

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> HostOptions:
        return cls(params["network_probe_image"], params["wait_timeout"])
