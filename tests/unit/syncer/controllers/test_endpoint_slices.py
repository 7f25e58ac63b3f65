"""Manual endpoint slices: which addresses and fields reach the host."""

from __future__ import annotations

import json

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers import services
from tenantry_syncer.controllers.endpoint_slices import EndpointSlices, addresses_of_pod
from tenantry_syncer.host_networks import FILE, HostNetworks
from tenantry_syncer.kube.resources import POD

from ..objects import CONFIG, pod, service
from .test_services import context

CLOSED = ("10.42.0.0/16", "10.43.0.0/16", "192.168.77.0/24", "100.100.100.200/32", "fd00:ec2::254/128")


@pytest.mark.parametrize(
    ("address", "is_external"),
    [
        ("192.0.2.7", True),
        ("10.44.0.7", True),
        ("2001:db8::1", True),
        ("192.168.77.5", True),  # allowed explicitly
        ("192.168.77.6", False),
        ("10.42.0.7", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        *((address, False) for address in ("::ffff:10.42.0.7", "::10.42.0.7", "::ffff:0:a2a:7", "64:ff9b::a2a:7")),
        *((address, False) for address in ("2002:0a2a:0007::1", "2001:0:a2a:7::1")),  # 6to4, Teredo
        ("64:ff9b::192.0.2.7", True),
        # A site's own NAT64, with a prefix of 48, 56, 64 and 96 bits.
        *((f"64:ff9b:1:{rest}", False) for rest in ("a2a:0:700::", "b0a:2a:7::", "b:a:2a00:700:0", "b:c::a2a:7")),
        *((f"64:ff9b:1:{rest}", True) for rest in ("c000:2:700::", "bc0:0:207::", "b:c0:2:700:0", "b:c::c000:207")),
        *((address, False) for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1")),
        *((address, False) for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1")),
        *((address, False) for address in ("0.0.0.0", "::", "localhost", "", "010.44.0.7")),
    ],
)
def test_networks_allow_external_addresses(address, is_external):
    assert HostNetworks(denied=CLOSED, allowed=("192.168.77.5/32",)).allows(address) is is_external


def test_networks_refresh_after_file_change(tmp_path):
    file = tmp_path / FILE
    file.write_text(json.dumps({"closed": ["10.42.0.0/24"], "open": []}))
    networks = HostNetworks.read(tmp_path)
    assert (networks.allows("10.42.0.1"), networks.refresh()) == (False, False)
    file.write_text(json.dumps({"closed": ["10.42.1.0/24"], "open": []}))
    assert (networks.refresh(), networks.allows("10.42.0.1")) == (True, True)


def test_networks_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        HostNetworks.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"10.42.0.7"}),
        ({"phase": "Succeeded"}, set()),
        ({"phase": "Failed"}, set()),
        ({"podIPs": None}, set()),
    ],
)
def test_addresses_of_pod_until_it_ends(changes, found):
    made = {**pod(), "status": {"phase": "Running", "podIPs": [{"ip": "10.42.0.7"}], **changes}}
    assert addresses_of_pod(made) == found
    made["spec"]["hostNetwork"] = True
    assert addresses_of_pod(made) == set()


def a_slice(owner: str = "web", **fields: object) -> dict:
    labels = {"kubernetes.io/service-name": owner, "endpointslice.kubernetes.io/managed-by": "theirs", "x": "y"}
    metadata = {"name": "web-1", "namespace": "shop", "uid": "e-1", "labels": labels, "annotations": {"x": "y"}}
    return {"metadata": metadata, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [], **fields}


def test_slice_belongs_to_host_service():
    reference = {"kind": "Pod", "name": "server-0", "namespace": "payments--dev"}
    endpoints = [
        {
            "addresses": ["192.0.2.7"],
            "conditions": {"ready": True},
            "targetRef": reference,
            "nodeName": "a",
            "zone": "z",
        },
        {"addresses": ["192.0.2.8", "127.0.0.1"]},
        {"addresses": ["10.42.0.7"]},
        {"addresses": ["10.42.0.8"]},
    ]
    known = context(service({"clusterIP": "10.43.0.9"}))
    known.networks = HostNetworks(denied=CLOSED)
    own = {**pod(), "status": {"podIPs": [{"ip": "10.42.0.7"}]}}
    known.host.cache(POD).put(own)
    made, rejected = EndpointSlices(known, None)._desired(a_slice(endpoints=endpoints))
    assert made["endpoints"] == [
        {"addresses": ["192.0.2.7"], "conditions": {"ready": True}, "nodeName": "a", "zone": "z"},
        {"addresses": ["10.42.0.7"]},
    ]
    assert sorted(rejected) == ["10.42.0.8", "127.0.0.1"]
    assert made["metadata"]["labels"] == {
        **CONFIG.labels,
        naming.MANAGED_BY: naming.SYNCER,
        naming.COMPONENT: "slice",
        "kubernetes.io/service-name": naming.host_name("shop", "web"),
        "endpointslice.kubernetes.io/managed-by": naming.SYNCER,
    }


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"clusterIP": "10.43.0.9", "selector": {"app": "web"}}, "web"),
        ({"clusterIP": "None"}, "web"),
        ({"clusterIP": "10.43.0.9"}, "other"),
    ],
)
def test_slice_of_other_service_is_not_synced(spec, name):
    assert EndpointSlices(context(service(spec, name)), None)._desired(a_slice()) == (None, [])


@pytest.mark.parametrize(("namespace", "name"), services.PLATFORM_SERVICES)
def test_slice_of_platform_service_is_not_synced(namespace, name):
    found = a_slice(name)
    found["metadata"]["namespace"] = namespace
    known = context(service({"clusterIP": "10.43.0.9"}, name, namespace))
    assert EndpointSlices(known, None)._desired(found) == (None, [])
