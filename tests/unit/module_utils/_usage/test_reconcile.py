"""The options of usage_report, and the files that it writes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._usage.reconcile import UsageOptions

USUAL = {
    **dict.fromkeys(("history", "prices", "page", "json", "csv", "metrics", "tenant_pages", "tenant")),
    **{"retention": "1100d", "mode": "0640"},
}


def options(**given: Any) -> UsageOptions:
    return UsageOptions.of({**USUAL, **given})


@pytest.mark.parametrize(("mode", "value"), [("0600", 0o600), ("0640", 0o640), ("0777", 0o777)])
def test_modes(mode: str, value: int) -> None:
    assert options(mode=mode).mode == value


@pytest.mark.parametrize("mode", ["416", "640", "0o640", "0899", "0040", "00640", " 0640", "0640\n", "0٦40", ""])
def test_mode_without_quotes_is_refused(mode: str) -> None:
    """YAML reads 0640 as 416."""
    with pytest.raises(TenantryError, match=r"mode: .* is not a file mode\. Use four octal digits in quotes"):
        options(mode=mode)
