"""Use of a virtual cluster, out of what its API server counts."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.activity import sample

COUNT = (
    'apiserver_request_total{{code="{code}",component="apiserver",dry_run="{dry}",group="apps",resource="{what}",'
    'scope="resource",subresource="{sub}",verb="{verb}",version="v1"}} {value}'
)


def line(verb: str, what: str, value: str = "3", code: str = "200", sub: str = "", dry: str = "") -> str:
    return COUNT.format(verb=verb, what=what, value=value, code=code, sub=sub, dry=dry)


def test_requests_of_users_are_counted_apart() -> None:
    metrics = """# HELP apiserver_flowcontrol_dispatched_requests_total x
apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"} 900
apiserver_flowcontrol_dispatched_requests_total{flow_schema="tenantry-people",priority_level="workload-low"} 7
apiserver_flowcontrol_dispatched_requests_total{flow_schema="service-accounts",priority_level="workload-low"} 40
process_start_time_seconds 1.76e+09
"""
    assert sample(metrics) == [1760000000, 7, 0]


def test_changes_of_workloads_are_counted_and_reports_are_not() -> None:
    counted = [line("POST", "pods", "2", "201"), line("PATCH", "deployments", "1e+01", sub="scale")]
    others = [
        line("GET", "pods"),
        line("LIST", "pods"),
        line("WATCH", "deployments"),
        line("PATCH", "pods", sub="status"),
        line("POST", "pods", sub="binding"),
        line("PUT", "leases"),
        line("POST", "pods", code="403"),
        line("POST", "pods", dry="All"),
        line("POST", "serviceaccounts", sub="token"),
    ]
    assert sample("\n".join([*counted, *others])) == [0, 0, 12]


def test_a_label_may_hold_anything() -> None:
    odd = (
        'apiserver_request_total{code="200",dry_run="",resource="pods",subresource="",verb="POST",group="a\\"}b, c"} 1'
    )
    assert sample(odd) == [0, 0, 1]
