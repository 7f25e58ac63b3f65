# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Repeat a PATCH that lost a race against a concurrent change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import is_field_conflict

try:
    from kubernetes.client.exceptions import ApiException
except ImportError:
    ApiException = None  # type: ignore[assignment,misc]  # reported once, by _module.main()

T = TypeVar("T")

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before the second attempt and those after it


def repeat_lost(send: Callable[[], T], body: dict) -> T:
    """Return the result of `send`, which sends a PATCH with this body. Repeat it while it loses races.

    Raise the ApiException of a conflict that every attempt would have: the body has a resourceVersion, or another
    manager has a field of it.
    """
    for pause in PAUSES:
        try:
            return send()
        except ApiException as error:
            if error.status != 409 or "resourceVersion" in (body.get("metadata") or {}) or is_field_conflict(error):
                raise
        time.sleep(pause)
    return send()
