# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sections of the page. Pure: each takes the report and returns markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._usage import charts, page_parts
from ansible_collections.tenantry.kube.plugins.module_utils._usage.markup import Markup, element
from ansible_collections.tenantry.kube.plugins.module_utils._usage.page_parts import (
    Cell,
    Table,
    cores,
    meter,
    money,
    percent,
    section,
    shown,
    size,
    when,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import EARLIER, WASTE_SHOWN

Report = Mapping[str, Any]
PARTS = ("promised", "requested", "used")
OPEN = 12  # lines about what needs attention


def numbers(report: Report) -> Markup:
    """Return the fleet, or one tenant, at a glance."""
    boxes = [_total(report, resource) for resource in ("cpu", "memory")]
    states = [one["status"] for one in report["vclusters"]]
    ready, paused = states.count("Ready"), states.count("Paused")
    others = len(states) - ready - paused
    words = f"{ready} ready, {paused} paused, {others} with problems or being deleted"
    boxes.append(_box("Virtual clusters", str(len(states)), element("p", words, class_="label")))
    if report["currency"]:
        boxes.append(_cost_box(report))
    return element("section", element("div", boxes, class_="numbers"), aria_label="At a glance")


def _box(label: str, number: str, *more: Markup | None) -> Markup:
    return element("div", element("span", label, class_="label"), element("strong", number), more)


def _total(report: Report, resource: str) -> Markup:
    """Return the use of all clusters of the fleet or, without them, of the tenants' quotas."""
    rows = report["clusters"]
    if rows:
        whole = sum(one[resource]["capacity"] for one in rows)
        parts = {part: _sum([one[resource][part] for one in rows]) for part in PARTS}
    else:
        whole = sum(one["quota"].get(resource, 0) for one in report["tenants"])
        parts = {part: _sum([one[part] and one[part][resource] for one in report["tenants"]]) for part in PARTS}
    unit, of = (" cores" if resource == "cpu" else ""), "capacity" if rows else "quota"
    words = " · ".join(f"{part} {shown(resource, parts[part])}" for part in PARTS)
    label = f"{resource}: {words}, {of} {shown(resource, whole)}{unit}"
    return _box(
        f"{'CPU' if resource == 'cpu' else 'Memory'} used",
        f"{shown(resource, parts['used'])}{unit}",
        charts.bars(label, whole, *parts.items()),
        element("p", f"{words} · {of} {shown(resource, whole)}", class_="label"),
    )


def _sum(amounts: Sequence[float | None]) -> float | None:
    return None if None in amounts else sum(one for one in amounts if one is not None)


def _cost_box(report: Report) -> Markup:
    cost = report["cost"] or (report["tenants"][0]["cost"] if report["tenants"] else {})
    forecast = f"forecast for the month {money(cost.get('forecast'), report['currency'])}"
    idle = f" · idle {money(cost['idle'], report['currency'])}" if "idle" in cost else ""
    text = money(cost.get("month_to_date"), report["currency"])
    return _box(f"Cost of {report['month']} so far", text, element("p", forecast + idle, class_="label"))


def attention(report: Report) -> Markup:
    """Return what needs attention. Of many lines, the most urgent are open."""
    found, about = report["attention"], f"As of {report['time']}."
    if not found:
        return section("attention", "Needs attention", about, element("p", "Nothing.", class_="none good"))
    rows = [_finding(one) for one in found]
    columns = ("What", "Level", "Why", "What to do")
    caption = "What needs attention, the most urgent first"
    first = page_parts.table(Table("attention-table", caption, columns, rows[:OPEN], sortable=False))
    if len(rows) <= OPEN:
        return section("attention", f"Needs attention ({len(rows)})", about, first)
    rest = page_parts.table(Table("attention-rest", f"{caption}: the rest", columns, rows[OPEN:], sortable=False))
    more = element("details", element("summary", f"{len(rows) - OPEN} more"), rest)
    return section("attention", f"Needs attention ({len(rows)})", about, first, more)


def _finding(one: Mapping[str, Any]) -> list[Cell]:
    return [
        Cell(page_parts.name(one["about"])),
        Cell(page_parts.level(one["level"])),
        Cell(element("bdi", one["text"]), None, "text"),
        Cell(one["remedy"]),
    ]


def clusters(report: Report) -> Markup:
    """Return the clusters of the fleet."""
    rows = [
        [
            Cell(page_parts.name(one["name"], under=f"{one['version']}, {one['nodes']} nodes")),
            *(
                meter(one["name"], resource, ("capacity", one[resource]["capacity"]), *_parts(one, resource))
                for resource in ("cpu", "memory")
            ),
            Cell(cores(one["cpu"]["idle"]), one["cpu"]["idle"], "right"),
            Cell(size(one["memory"]["idle"]), one["memory"]["idle"], "right"),
            Cell(str(one["vclusters"]), one["vclusters"], "right"),
            Cell(_coverage(report, one["name"]), report["coverage"].get(one["name"], 0), "right"),
            *_costs(report, one["cost"]["month_to_date"], one["cost"]["idle"]),
        ]
        for one in report["clusters"]
    ]
    columns = ["Cluster", "CPU", "Memory", "Idle CPU", "Idle memory", "Virtual clusters", "Covered"]
    columns += ["Cost this month", "Of it idle"] if report["currency"] else []
    about = f"As of {report['time']}. Covered: the part of {report['month']} of which there are samples."
    content = page_parts.table(Table("clusters-table", "Clusters of the fleet", columns, rows))
    return section("clusters", "Clusters of the fleet", about, _key(), content)


def _parts(one: Mapping[str, Any], resource: str) -> list[tuple[str, float | None]]:
    return [(part, one[resource][part]) for part in PARTS]


def _coverage(report: Report, name: str) -> str:
    return f"{100 * report['coverage'].get(name, 0):.0f} %"


def _costs(report: Report, *amounts: str) -> list[Cell]:
    currency = report["currency"]
    return [Cell(money(one, currency), float(one), "right") for one in amounts] if currency else []


def _key() -> Markup:
    words = {
        "used": "used: measured now",
        "requested": "requested by pods",
        "promised": "promised to virtual clusters",
        "track": "capacity or quota",
        "limit": "capacity or quota, if more is promised",
    }
    items = [element("span", _swatch(name), text) for name, text in words.items()]
    return element("div", items, class_="key")


def _swatch(name: str) -> Markup:
    square = element("rect", width=10, height=10, rx=2, class_=name)
    return element("svg", square, viewBox="0 0 10 10", aria_hidden="true")


def tenants(report: Report) -> Markup:
    """Return the tenants, with what they cost and what else the fleet costs."""
    rows = [_tenant(report, one) for one in report["tenants"]]
    currency = report["currency"]
    columns = ["Tenant", "CPU", "Memory", "Storage", "Virtual clusters", "CPU over 90 days"]
    columns += ["Cost this month", "Forecast", "Last month", "Trend", "Cost over 90 days"] if currency else []
    about = (
        f"Bars: quota, promised, requested, used at {report['time']}. Lines: means by day until then, CPU used and, "
        "lighter, requested. Trend: the last seven whole days against the seven before."
    )
    content = page_parts.table(Table("tenants-table", "Tenants", columns, rows, _rest_of_cost(report, len(columns))))
    return section("tenants", "Tenants", about, _key(), content, search="tenants-table")


def _tenant(report: Report, one: Mapping[str, Any]) -> list[Cell]:
    name, quota, cost = one["name"], one["quota"], one["cost"]
    both = [
        meter(name, resource, ("quota", quota.get(resource, 0)), *((p, one[p] and one[p][resource]) for p in PARTS))
        for resource in ("cpu", "memory")
    ]
    storage = [("promised", one["promised"]["storage"]), ("used", one["storage"])]
    count, most = one["promised"]["vclusters"], quota.get("vclusters", 0)
    days = one["days"]
    lines = [("second", days.get("cpu_requested", ())), ("first", days.get("cpu_used", ()))]
    label = f"CPU of {name} over 90 days: used, requested"
    under = one["display_name"] if one["display_name"] != name else ""
    row = [
        Cell(page_parts.name(name, under=under), name),
        *both,
        meter(name, "storage", ("quota", quota.get("storage", 0)), *storage),
        Cell(f"{count} of {most}", count, "right"),
        Cell(charts.line(label, *lines), ""),
    ]
    if report["currency"]:
        row += _costs(report, cost["month_to_date"], cost["forecast"], cost["last_month"])
        trend = cost["trend"]
        row += [
            Cell("" if trend is None else f"{100 * trend:+.0f} %", trend, "right"),
            Cell(charts.line(f"Cost of {name} by day over 90 days", ("first", cost["days"][:-1])), ""),
        ]
    return row


def _rest_of_cost(report: Report, columns: int) -> list[list[Cell]]:
    """Return what adds up with the tenants to the cost of the fleet."""
    cost = report["cost"]
    if not report["currency"] or not cost:
        return []
    former = report["former_tenants"].items()
    lines = [(name if name.endswith(EARLIER) else f"{name} (deleted)", amount) for name, amount in former]
    lines += [("Idle", cost["idle"]), ("The fleet", cost["month_to_date"])]
    before, after = [Cell("")] * 5, [Cell("")] * (columns - 7)
    last = [Cell(money(cost["forecast"], report["currency"]), None, "right"), *after[1:]]
    return [
        [Cell(label), *before, *_costs(report, amount), *(last if label == "The fleet" else after)]
        for label, amount in lines
    ]


def waste(report: Report) -> Markup:
    """Return the largest requests beyond use, with the change to make."""
    about = (
        "What the pods of a virtual cluster request, against the 95th percentile of the hourly peaks of their use in "
        "the last 14 days. The proposal is a fifth above it, and at least what its control plane requests."
    )
    rows = [_wasted(report, one) for one in report["waste"][:WASTE_SHOWN]]
    if not rows:
        text = "Nothing, or less than 24 hours are measured yet."
        return section("waste", "Requested and not used", about, element("p", text, class_="none"))
    columns = ["Virtual cluster", "CPU requested", "CPU peak", "Memory requested", "Memory peak", "Change to make"]
    columns += ["Saves in a month"] if report["currency"] else []
    content = page_parts.table(Table("waste-table", "The largest requests beyond use", columns, rows))
    return section("waste", f"Requested and not used: the top {len(rows)}", about, content)


def _wasted(report: Report, one: Mapping[str, Any]) -> list[Cell]:
    asked, peak, proposed = one["requested"], one["peak"], one["proposed"]
    changes = [
        f"{resource} from {shown(resource, asked[resource])} to {shown(resource, proposed[resource])}"
        for resource in ("cpu", "memory")
        if asked[resource] != proposed[resource]
    ]
    name = f"{one['tenant']}/{one['name']}"
    return [
        Cell(page_parts.name(name, under=f"on {one['cluster']}, {one['hours']} hours measured"), name),
        *(Cell(cores(part["cpu"]), part["cpu"], "right") for part in (asked, peak)),
        *(Cell(size(part["memory"]), part["memory"], "right") for part in (asked, peak)),
        Cell(f"Lower the requests of its pods: {', '.join(changes)}"),
        *_costs(report, one["monthly_cost"]),
    ]


def vclusters(report: Report) -> Markup:
    """Return the virtual clusters."""
    rows = [_vcluster(report, one) for one in report["vclusters"]]
    columns = ["Virtual cluster", "Cluster", "Status", "Version", "CPU", "Memory", "Storage", "Pods"]
    columns += ["Idle since", "Expires", "Certificates end", "Snapshot"]
    columns += ["Cost this month"] if report["currency"] else []
    about = f"As of {report['time']}. Bars: promised, requested, used. Times are in UTC."
    content = page_parts.table(Table("vclusters-table", "Virtual clusters", columns, rows))
    return section("vclusters", f"Virtual clusters ({len(rows)})", about, content, search="vclusters-table")


def _vcluster(report: Report, one: Mapping[str, Any]) -> list[Cell]:
    name, now = f"{one['tenant']}/{one['name']}", report["time"]
    both = [
        meter(
            name,
            resource,
            ("promised", one["promised"][resource]),
            ("requested", one["requested"][resource]),
            ("used", one["used"] and one["used"][resource]),
        )
        for resource in ("cpu", "memory")
    ]
    good = {"Ready": "level good", "Paused": "level note"}.get(one["status"], "level critical")
    behind = element("small", "behind others") if one["version_behind"] else None
    extended = [
        element("small", element("bdi", f"{key}: {shown(key, amount)}")) for key, amount in one["extended"].items()
    ]
    share = percent(one["storage"], one["promised"]["storage"])
    return [
        Cell(page_parts.name(name, under=", ".join(filter(None, (one["tier"], one["mode"])))), name),
        Cell(one["cluster"]),
        Cell(element("span", one["status"], class_=good), one["status"]),
        Cell([one["version"] or "", behind], one["version"]),
        *both,
        Cell([size(one["storage"]), element("small", share)], one["storage"], "right"),
        Cell([cores(one["pods"]), extended], one["pods"], "right"),
        when(one["idle_since"], now, old_days=14),
        when(one["expires"], now, soon_days=3),
        when(one["certificates_valid_until"], now, soon_days=21),
        when(one["snapshot"], now, old_days=7),
        *_costs(report, one["month_to_date"]),
    ]
