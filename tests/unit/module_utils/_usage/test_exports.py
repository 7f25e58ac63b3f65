"""What machines read: the schema of JSON, the columns of FOCUS."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage import costs, exports, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Past

from .fleet import sample, vcluster
from .test_report import PRICES, history_of

SCHEMA = json.loads((Path(__file__).resolve().parents[4] / "docs/usage-report.schema.json").read_text())
# Feature level Mandatory in specification/columns of github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec at tag v1.2.
FOCUS_MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
FOCUS_SERVICES = {("Compute", "Containers"), ("Storage", "Block Storage")}


def rows_of(past: Past, names: dict[str, str] | None = None) -> list[dict[str, str]]:
    found = costs.charges(past.days, past.cluster_days, PRICES)
    return list(csv.DictReader(io.StringIO(exports.to_csv(found, "EUR", names or {}))))


@pytest.mark.parametrize("text", ["dev", "=1+1", '"\n'])
def test_json_is_as_the_schema_says(tmp_path: Path, text: str) -> None:
    last, past = history_of(tmp_path, vcluster(name=text, message=text), hours=30)
    whole = report.build(last, past, PRICES)
    for one in (
        whole,
        report.only_tenant(whole, "payments"),
        report.build(sample(missing={"edge": "x"}), Past(), PRICES),
    ):
        jsonschema.validate(json.loads(exports.to_json(one)), SCHEMA)


def test_schema_would_refuse_something_else() -> None:
    whole: dict[str, Any] = report.build(sample(vcluster()), Past(), PRICES)
    for wrong in ({**whole, "new": 1}, {**whole, "time": 3}, {key: one for key, one in whole.items() if key != "cost"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_csv_has_the_columns_of_focus(tmp_path: Path) -> None:
    _last, past = history_of(tmp_path, hours=30)
    rows = rows_of(past, {"payments": "=Payments"})
    assert set(exports.COLUMNS) >= FOCUS_MANDATORY
    assert list(rows[0]) == list(exports.COLUMNS)
    for row in rows:
        assert all(row[column] for column in FOCUS_MANDATORY - {"ChargeClass"})
        assert (row["ServiceCategory"], row["ServiceSubcategory"]) in FOCUS_SERVICES
        assert abs(
            Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) - Decimal(row["BilledCost"])
        ) < Decimal("1e-6")
        assert all(row[f"{period}PeriodStart"] < row[f"{period}PeriodEnd"] for period in ("Billing", "Charge"))
    mine = next(row for row in rows if row["SubAccountId"] == "payments")
    assert (mine["ResourceId"], mine["RegionId"]) == ("hub/payments--dev", "hub")
    assert (mine["BillingPeriodStart"], mine["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert mine["SubAccountName"] == "'=Payments", "a spreadsheet would take it for a formula"


def test_csv_adds_up_to_the_report(tmp_path: Path) -> None:
    last, past = history_of(tmp_path)
    billed = sum(Decimal(row["BilledCost"]) for row in rows_of(past))
    assert round(billed, 2) == Decimal(report.build(last, past, PRICES)["cost"]["month_to_date"])
