from __future__ import annotations

from decimal import Decimal

import pytest
from tenantry_syncer.translate import quantities


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("0", 0), ("100m", "0.1"), ("1", 1), ("1.5", "1.5"), ("128Mi", 128 * 1024**2), ("1k", 1000), ("1e3", 1000),
     ("1E", 10**18), ("1Ei", 1024**6), ("1E3", 1000), ("5u", "0.000005"), ("12M", 12_000_000), ("7n", "7e-9"),
     ("25e-3", "0.025"), ("1.5Ki", 1536)],
)  # fmt: skip
def test_parse(quantity, number):
    assert quantities.parse(quantity) == Decimal(number)


@pytest.mark.parametrize("quantity", ["", "m", "Ki", "1Kb", "one"])
def test_parse_rejects_other_text(quantity):
    with pytest.raises(ValueError, match="is not a quantity"):
        quantities.parse(quantity)


@pytest.mark.parametrize(("number", "text"), [("2", "2"), ("0.1", "100m"), ("134217728", "134217728")])
def test_text(number, text):
    assert quantities.text(Decimal(number)) == text


def test_larger_and_smaller_keep_the_notation():
    assert quantities.larger("1Gi", "1G") == "1Gi"
    assert quantities.smaller("0.1", "1") == "0.1"
    assert quantities.smaller("1000m", "1") == "1000m"
