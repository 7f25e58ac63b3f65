"""Settings of the lab: what is accepted, what is refused, and with which words."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from tenantry_lab.config import Lab, LabError, check_node_name


def test_defaults_are_the_addresses_the_demo_inventory_names() -> None:
    lab = Lab.from_environment({})
    assert (lab.mirror_url, lab.host_address) == ("http://10.213.0.1:8213", ip_address("10.213.0.254"))


@pytest.mark.parametrize("subnet", ["10.213.0.0/24", "192.168.100.0/24", "172.20.255.0/24"])
def test_interface_name_fits_and_differs_by_subnet(subnet: str) -> None:
    name = Lab.from_environment({"LAB_SUBNET": subnet}).interface
    assert len(name) <= 15
    assert name == "lab-" + subnet.removesuffix(".0/24").replace(".", "-")


@pytest.mark.parametrize("subnet", ["10.213.0.0/16", "10.213.0.1/24", "fd00::/24", "lab", "10.213.0.0/33"])
def test_bad_subnet_is_refused(subnet: str) -> None:
    with pytest.raises(LabError, match=f"^LAB_SUBNET={subnet}: "):
        Lab.from_environment({"LAB_SUBNET": subnet})


@pytest.mark.parametrize("release", ["latest", "1.34.4+k3s1", "v1.34", "v1.34.4", "v1.34.4+k3s1/../x"])
def test_bad_release_is_refused(release: str) -> None:
    with pytest.raises(LabError, match="not a k3s release"):
        Lab.from_environment({"K3S_RELEASE": release})


def test_a_published_release_is_distinguished_from_the_own_build() -> None:
    assert Lab.from_environment({"K3S_RELEASE": "v1.34.4+k3s1"}).is_release
    assert not Lab.from_environment({"K3S_RELEASE": "v1.34.4+lab1"}).is_release


@pytest.mark.parametrize("name", ["hub", "t1", "a-b", "abcdefghijklm"])
def test_node_name(name: str) -> None:
    assert check_node_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "Hub", "1a", "a-", "a_b", "a.b", "../a", "abcdefghijklmn", "a\n"])
def test_bad_node_name_is_refused(name: str) -> None:
    with pytest.raises(LabError, match=r"^node name "):
        check_node_name(name)
