# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report for machines: JSON, and charges as CSV with the columns of FOCUS. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import rfc3339, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._usage import costs
from ansible_collections.tenantry.kube.plugins.module_utils._usage.costs import IDLE, Charge
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import DAY

# Costs of a day are small, so that two decimals would lose most of them.
PLACES = 6
PROVIDER = "tenantry.kube"
_COMPUTE, _STORAGE = ("Compute", "Containers"), ("Storage", "Block Storage")
# By price: the category of the service and its subcategory, its name, the unit.
SERVICES = {
    "cpu_hour": (*_COMPUTE, "CPU", "Core-Hours"),
    "memory_gib_hour": (*_COMPUTE, "Memory", "GiB-Hours"),
    "gpu_hour": (*_COMPUTE, "GPU", "GPU-Hours"),
    "storage_gib_month": (*_STORAGE, "Storage", "GiB-Months"),
    "control_plane_hour": (*_COMPUTE, "Control plane", "Hours"),
}
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_json(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def to_csv(charges: Iterable[Charge], currency: str, names: Mapping[str, str]) -> str:
    """Return charges of days as CSV. `names` has the display names of tenants."""
    found = [one for one in charges if one.cost]
    amounts = costs.apportion({number: one.cost for number, one in enumerate(found)}, places=PLACES)
    rows = [_row(one, f"{amounts[number]:f}", currency, names) for number, one in enumerate(found)]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory"),
    *("PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "ResourceId", "ResourceName"),
    *("ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SubAccountId", "SubAccountName"),
    "Tags",
)


def _row(one: Charge, cost: str, currency: str, names: Mapping[str, str]) -> dict[str, str]:
    category, subcategory, service, unit = SERVICES[one.option]
    begin, end = _month_of(one.time)
    price, quantity, idle = _decimal(one.price), _decimal(one.quantity), one.tenant == IDLE
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), price),
        **dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), quantity),
        **dict.fromkeys(("ConsumedUnit", "PricingUnit"), unit),
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), PROVIDER),
        "BillingAccountId": PROVIDER,
        "BillingAccountName": "The fleet",
        "BillingCurrency": currency,
        "BillingPeriodStart": begin,
        "BillingPeriodEnd": end,
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{service} that is idle" if idle else f"{service} of {one.tenant}/{one.name}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": rfc3339(one.time),
        "ChargePeriodEnd": rfc3339(one.time + DAY),
        "PricingCategory": "Standard",
        "RegionId": one.cluster,
        "ResourceId": "" if idle else f"{one.cluster}/{one.tenant}--{one.name}",
        "ResourceName": one.name,
        "ResourceType": "" if idle else "Virtual cluster",
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory,
        "ServiceName": service,
        "SubAccountId": one.tenant,
        "SubAccountName": "Idle" if idle else names.get(one.tenant, one.tenant),
        "Tags": json.dumps({"tier": one.tier}) if one.tier else "",
    }


def _month_of(time: int) -> tuple[str, str]:
    first = datetime.fromtimestamp(time, UTC).replace(day=1)
    return stamp(first), stamp((first + timedelta(days=32)).replace(day=1))


def _decimal(amount: Fraction) -> str:
    return f"{costs.rounded(amount, 9).normalize():f}"


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
