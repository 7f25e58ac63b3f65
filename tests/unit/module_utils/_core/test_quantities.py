"""Quantities and durations."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0", 0),
        ("2", 2),
        (2, 2),
        (0.5, Decimal("0.5")),
        ("1500m", Decimal("1.5")),
        (".5", Decimal("0.5")),
        ("1.", 1),
        ("100n", Decimal("1e-7")),
        ("10k", 10_000),
        ("10G", 10**10),
        ("10Gi", 10 * 2**30),
        ("1e3", 1000),
        ("1E-3", Decimal("0.001")),
        ("1E", 10**18),
    ],
)
def test_parse(value: object, amount: object) -> None:
    assert quantities.parse(value, "cpu") == amount


@pytest.mark.parametrize(
    "value", ["", "ten", "10gb", "10GB", "1 Gi", "1,5", "Gi", "1e", "1e999", "--1", "１", "1\n", "nan", True, None, [1]]
)
def test_not_a_quantity(value: object) -> None:
    with pytest.raises(
        TenantryError, match=r"^resources\.memory: .* is not a quantity.*. Use .* such as 500m"
    ) as caught:
        quantities.parse(value, "resources.memory")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["1e25", "9e60", "9" * 40, "10000000E"])
def test_too_large(value: str) -> None:
    with pytest.raises(TenantryError, match=r"cpu: .* is too large\. Use less than 10000000E"):
        quantities.add("1", value, field="cpu")
    assert quantities.add("9e24", "9999999E") == "18999999E"


def test_negative() -> None:
    with pytest.raises(TenantryError, match='cpu: "-1" is negative'):
        quantities.parse("-1", "cpu")


@pytest.mark.parametrize(("value", "hint"), [("10gb", "10G or 10Gi"), ("5K", "5k or 5Ki"), ("1.5MB", "1.5M or 1.5Mi")])
def test_unit_hint(value: str, hint: str) -> None:
    with pytest.raises(TenantryError, match=f"did you mean {hint}"):
        quantities.parse(value, "memory")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (0.25, "250m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("1023Ki", "1023Ki"),
        ("0.1Ki", "102400m"),
        ("1e3", "1k"),
        ("1500", "1500"),
        ("0", "0"),
        ("0Gi", "0"),
        ("100n", "1m"),
        ("20000M", "20G"),
    ],
)
def test_canonical(value: object, form: str) -> None:
    assert quantities.canonical(value, "x") == form
    assert quantities.canonical(form, "x") == form


def test_add() -> None:
    assert quantities.add("1Gi", "512Mi") == "1536Mi"
    assert quantities.add("500m", "1500m") == "2"
    assert quantities.add() == "0"


def test_milli_rounds_up() -> None:
    assert quantities.milli("1.2345", "cpu") == 1235
    assert quantities.milli("250m", "cpu") == 250


def test_same() -> None:
    assert quantities.same("1000m", 1)
    assert quantities.same("1Gi", "1024Mi")
    assert not quantities.same("1Gi", "1G")
    assert not quantities.same("x", "x")


@pytest.mark.parametrize(
    ("duration", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("90s", 90), ("1d12h", 129_600)]
)
def test_seconds(duration: str, seconds: int) -> None:
    assert quantities.seconds(duration, "lifetime") == seconds


@pytest.mark.parametrize("duration", ["", "30", "d", "1.5h", "-1h", "1w", "1h 30m", "1H", "1h\n", 3600, None, True])
def test_not_a_duration(duration: object) -> None:
    with pytest.raises(TenantryError, match=r"^lifetime: .* is not a duration. Use .* such as 30d"):
        quantities.seconds(duration, "lifetime")


def test_bounds_are_allowed_and_enforced() -> None:
    assert quantities.seconds("1h", "lifetime", "1h", "365d") == 3600
    assert quantities.seconds("365d", "lifetime", "1h", "365d") == 31_536_000
    with pytest.raises(TenantryError, match=r"lifetime: 59m is too short. Use 1h or more"):
        quantities.seconds("59m", "lifetime", "1h", "365d")
    with pytest.raises(TenantryError, match=r"lifetime: 366d is too long. Use 365d or less"):
        quantities.seconds("366d", "lifetime", "1h", "365d")
