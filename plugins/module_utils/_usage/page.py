# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page: one HTML file without anything from elsewhere, complete without its script. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._usage import page_tables
from ansible_collections.tenantry.kube.plugins.module_utils._usage.markup import Markup, document, element, raw
from ansible_collections.tenantry.kube.plugins.module_utils._usage.page_parts import definitions
from ansible_collections.tenantry.kube.plugins.module_utils._usage.style import SCRIPT, STYLE

WORDS = {
    "Promised": "The resources of a virtual cluster, which its ResourceQuota limits.",
    "Requested": "The sum of the requests of its pods, control plane included.",
    "Used": "What the metrics API of the host measured. Without it there is a gap, not a zero.",
    "Allocated": "The larger of requested and used, as in the OpenCost specification. Costs are for this.",
    "Idle": "Capacity that no virtual cluster allocates. It includes what the host itself takes.",
    "Forecast": "The cost of the month so far, and the mean of the last seven whole days for each day to come.",
}


def render(report: Mapping[str, Any]) -> str:
    """Return the page of the fleet or, of a report for one tenant, of that tenant."""
    fleet = bool(report["clusters"]) or len(report["tenants"]) != 1
    title = "Usage of the fleet" if fleet else f"Usage of {report['tenants'][0]['display_name']}"
    sections = [
        _gaps(report),
        page_tables.numbers(report),
        page_tables.attention(report),
        page_tables.clusters(report) if report["clusters"] else None,
        page_tables.tenants(report),
        page_tables.waste(report),
        page_tables.vclusters(report),
    ]
    head = _head(title, None if fleet else _mark(report["tenants"][0]["name"]))
    return document(element("html", head, element("body", _header(title, report), _main(sections)), lang="en"))


def is_of(tenant: str, head: str) -> bool:
    """Return whether a file that begins so is the page of that tenant."""
    return _mark(tenant).text in head


def _mark(tenant: str) -> Markup:
    return element("meta", name="tenantry-tenant", content=tenant)


def _main(sections: list[Markup | None]) -> list[Markup]:
    footer = element("footer", element("h2", "Words"), definitions(WORDS))
    return [element("main", sections), footer, raw("script", SCRIPT)]


def _head(title: str, mark: Markup | None) -> Markup:
    """Return the head. Its policy names the only style and the only script, so that a browser runs nothing else."""
    allowed = f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; base-uri 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        mark,
        element("meta", http_equiv="Content-Security-Policy", content=f"{allowed}; form-action 'none'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        raw("style", STYLE),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(title: str, report: Mapping[str, Any]) -> Markup:
    targets = {"attention": "Attention", "clusters": "Clusters", "tenants": "Tenants", "waste": "Waste"}
    targets |= {"vclusters": "Virtual clusters"}
    links = [
        element("a", text, href=f"#{target}")
        for target, text in targets.items()
        if target != "clusters" or report["clusters"]
    ]
    when = element("p", "Measured at ", element("time", report["time"], datetime=report["time"]), class_="soft")
    return element("header", element("h1", element("bdi", title)), when, element("nav", links, aria_label="Sections"))


def _gaps(report: Mapping[str, Any]) -> Markup | None:
    """Return which clusters are missing in all that follows."""
    lines = [
        f"{name} does not answer: its virtual clusters are missing in this report."
        for name in report["missing_clusters"]
    ]
    lines += [f"{name} reports no use: it is not known, rather than zero." for name in report["unmeasured_clusters"]]
    if not lines:
        return None
    return element("section", [element("p", element("bdi", one)) for one in lines], class_="gap", aria_label="Gaps")
