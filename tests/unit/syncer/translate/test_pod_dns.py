from __future__ import annotations

import pytest
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import pod_dns, rejection

from ..objects import CONFIG, POD_CONTEXT, pod


def made(spec: dict | None = None, context: pod_spec.PodContext = POD_CONTEXT, **metadata: object) -> dict:
    return pod_spec.host_pod(pod(spec, **metadata), context)["spec"]


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("web-0", "web-0"),
        ("a.b.c", "a-b-c"),
        ("n" * 253, "n" * 63),
        ("x" * 62 + ".y", "x" * 62),
        ("a" * 61 + ".-.b", "a" * 61),
    ],
)
def test_hostname_is_a_label(name, hostname):
    assert made(name=name)["hostname"] == hostname


def test_dns_uses_virtual_dns():
    assert made()["dnsConfig"] == {
        "nameservers": ["10.43.7.53"],
        "searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": [{"name": "ndots", "value": "5"}],
    }
    own = {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3"], "searches": [f"s{one}" for one in range(40)]}
    merged = made({"dnsConfig": {**own, "options": [{"name": "ndots", "value": "1"}]}})["dnsConfig"]
    assert merged["nameservers"] == ["10.43.7.53", "1.1.1.1", "1.1.1.2"]
    assert len(merged["searches"]) == 32
    assert merged["options"] == [{"name": "ndots", "value": "1"}]
    assert made({"dnsPolicy": "None", "dnsConfig": own})["dnsConfig"] == own
    assert made({"dnsPolicy": "Default"})["dnsPolicy"] == "Default"


@pytest.mark.parametrize(
    ("name", "spec", "full"),
    [
        ("web-0", {}, None),
        ("n" * 200, {}, None),
        ("dotted.pod.name", {}, "dotted.pod.name"),
        ("x" * 62 + ".y", {}, None),  # a kubelet truncates it before the dot
        ("dotted.pod.name", {"hostname": "web"}, None),
        ("zk", {"hostname": "zk-1", "subdomain": "zk-headless"}, None),
        ("zk", {"setHostnameAsFQDN": True}, None),
        (
            "zk",
            {"hostname": "zk-1", "subdomain": "zk-headless", "setHostnameAsFQDN": True},
            "zk-1.zk-headless.shop.svc.cluster.local",
        ),
        ("zk", {"hostnameOverride": "api.example.com"}, "api.example.com"),
        ("dotted.pod.name", {"hostNetwork": True}, None),
    ],
)
def test_full_hostname(name, spec, full):
    assert pod_dns.full_hostname(pod(spec, name=name), CONFIG) == full
    assert made(spec, name=name).get("hostnameOverride") == full


def test_full_hostname_too_long_is_rejected():
    spec = {"setHostnameAsFQDN": True, "subdomain": "s" * 30}
    with pytest.raises(rejection.RejectedSpec, match=r"setHostnameAsFQDN: .* has \d+ characters; the limit is 64"):
        made(spec, name="n" * 20)
