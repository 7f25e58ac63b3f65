# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encode and decode the data of Secrets, and what is encoded in the same way. Pure."""

from __future__ import annotations

import base64


def encoded(text: str) -> str:
    """Return the text as a value of a Secret's data."""
    return base64.b64encode(text.encode()).decode()


def decoded_value(value: str) -> str:
    """Return a value of a Secret's data as text. Raise a ValueError if it is none."""
    return base64.b64decode(value).decode()


def decoded(found: dict | None) -> dict[str, str]:
    """Return the data of a Secret as text by key; empty for None."""
    data = (found or {}).get("data") or {}
    return {key: decoded_value(value) for key, value in data.items()}
