"""Metrics, and the rules and the dashboard for them in `monitoring`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import metrics as of_reconciler
from ansible_collections.tenantry.kube.plugins.module_utils._usage import metrics, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Past

from .fleet import NOW, host, sample, vcluster
from .test_report import PRICES

MONITORING = Path(__file__).parents[4] / "monitoring"
RULES = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
LINE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? -?[0-9.e+]+')
HELP = re.compile(r"# (HELP|TYPE) [a-z_]+ .+")
# In PromQL: a name of ours with its matchers, the labels of `by` and `on`, and those in the text of an alert.
SELECTOR = re.compile(r"(tenantry[a-z_]*(?::[a-z_:]+)?)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on) \(([a-z, ]+)\)")
IN_TEXT = re.compile(r"\$labels\.([a-z_]+)|\{\{([a-z_]+)\}\}")

Written = dict[str, set[str]]


def whole_report() -> str:
    """Metrics of a fleet in which everything is known that can be."""
    later = NOW + timedelta(days=1)
    known = dict.fromkeys(("expires", "certificates_valid_until", "idle_since", "snapshot"), later)
    hosts = (host(), host("edge", credential_expires=later, used=None))
    odd = vcluster(name='b"\\\n', cluster="edge", used=None)
    found = sample(vcluster(**known), odd, clusters=hosts, missing={"lost": "x"})
    return metrics.render(report.build(found, Past(), PRICES))


def written() -> Written:
    """Return the labels of all metrics that the code writes, by name."""
    statistics = of_reconciler.RunStatistics()
    statistics.add("report", 1, succeeded=True, now=0)
    text = of_reconciler.render(statistics, leads=True, report=None) + whole_report()
    found: Written = {}
    for line in filter(None, map(LINE.fullmatch, text.splitlines())):
        found.setdefault(line["name"], set()).update(re.findall(r'([a-z]+)="', line["labels"] or ""))
    return found


def unknown(expression: str, known: Written) -> list[str]:
    """Return the metrics and labels in PromQL that do not exist."""
    bad, labels = [], set()
    for name, matchers in SELECTOR.findall(expression):
        bad += [] if name in known else [name]
        labels |= known.get(name, set())
        bad += [f"{name}{{{label}}}" for label in re.findall(r"([a-z_]+)\s*[=!]", matchers) if label not in labels]
    grouped = [label.strip() for one in GROUPING.findall(expression) for label in one.split(",")]
    return bad + [label for label in grouped if label not in labels]


@cache
def all_known() -> Written:
    """What the code writes, and what rules record. A recorded ratio has the labels that are left of its parts."""
    recorded = {
        rule["record"]: rule["record"].split(":")[1]
        for group in RULES["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    return {**written(), **{name: {part.split("_")[0]} for name, part in recorded.items()}}


def test_metrics_are_as_prometheus_reads_them() -> None:
    text = whole_report()
    assert [one for one in text.splitlines() if not LINE.fullmatch(one) and not HELP.fullmatch(one)] == []
    assert 'tenantry_vcluster_cpu_used_cores{tenant="payments",vcluster="dev",cluster="hub"} 1\n' in text
    assert 'tenantry_vcluster_cpu_requested_cores{tenant="payments",vcluster="b\\"\\\\\\n",cluster="edge"} 2\n' in text
    assert len(re.findall("^tenantry_vcluster_cpu_used_cores", text, re.MULTILINE)) == 1, "a gap is no zero"
    assert 'tenantry_cluster_up{cluster="lost"} 0\n' in text
    assert 'tenantry_tenant_cost_month_to_date{tenant="payments",currency="EUR"} 0.0\n' in text
    assert (
        'tenantry_vcluster_expires_timestamp_seconds{tenant="payments",vcluster="dev",cluster="hub"} 1796115720\n'
        in text
    )
    # Prometheus rejects a metric whose type is given twice.
    assert len(re.findall("^# TYPE (.*) gauge$", text, re.MULTILINE)) == len(
        set(re.findall("^# TYPE (.*) gauge$", text, re.M))
    )


def expressions() -> Iterator[Any]:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=rule.get("alert") or rule["record"])
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for variable in DASHBOARD["templating"]["list"][1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        yield pytest.param(f"sum by ({label}) ({name})", id=f"variable {label}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_metrics_in_rules_and_dashboard_exist(expression: str) -> None:
    assert unknown(expression, all_known()) == []
    assert "tenantry" in expression
    assert expression.count("(") == expression.count(")")


def test_metrics_that_do_not_exist_are_found() -> None:
    bad = 'sum by (vcluster) (tenantry_cluster_up{tenant="x"} / tenantry_vcluster_cpu_used)'
    assert unknown(bad, all_known()) == ["tenantry_cluster_up{tenant}", "tenantry_vcluster_cpu_used", "vcluster"]


def test_rules_have_the_form_of_prometheus() -> None:
    names = []
    for group in RULES["groups"]:
        assert group.keys() == {"name", "rules"}
        for rule in group["rules"]:
            names.append(rule.get("alert") or rule["record"])
            if "record" in rule:
                assert rule.keys() == {"record", "expr"}
                continue
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"].keys() == {"severity"}
            assert rule["annotations"].keys() == {"summary", "description"}
            assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
            known = {label for name, _m in SELECTOR.findall(rule["expr"]) for label in all_known()[name]}
            used = {one for pair in IN_TEXT.findall(rule["annotations"]["summary"]) for one in pair if one}
            assert used <= known, rule["alert"]
    assert len(names) == len(set(names))


def test_dashboard_has_the_form_of_grafana() -> None:
    panels = DASHBOARD["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    spots = {
        (x, y) for one in panels for x in _cells(one["gridPos"], "x", "w") for y in _cells(one["gridPos"], "y", "h")
    }
    assert len(spots) == sum(one["gridPos"]["w"] * one["gridPos"]["h"] for one in panels), "panels overlap"
    assert max(x for x, _y in spots) == 23
    for one in panels:
        assert {each["datasource"]["uid"] for each in [one, *one["targets"]]} == {"${datasource}"}
        known = set().union(
            *(all_known()[name] for target in one["targets"] for name, _m in SELECTOR.findall(target["expr"]))
        )
        used = {
            part
            for each in one["targets"]
            for pair in IN_TEXT.findall(each.get("legendFormat", ""))
            for part in pair
            if part
        }
        assert used <= known, one["title"]
        for variable in re.findall(r"\$(\w+)", json.dumps(one["targets"])):
            assert variable in {each["name"] for each in DASHBOARD["templating"]["list"]}


def _cells(position: dict[str, int], start: str, length: str) -> range:
    return range(position[start], position[start] + position[length])
