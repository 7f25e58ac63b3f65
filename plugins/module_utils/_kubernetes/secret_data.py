# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data of a Secret as text. Pure."""

from __future__ import annotations

import base64


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(found: dict | None) -> dict[str, str]:
    data = (found or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
