"""What a virtual cluster of mode shared consists of, besides its syncer and its quotas."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, common, server

from ..example import SHARED, render
from ..shared_objects import ADDRESSES, objects, pod, server_config, stamp, syncer


def test_its_pods_are_scheduled_by_the_host():
    config = server_config()
    assert config["disable-scheduler"] is True
    assert config["disable-agent"] is True
    assert config["egress-selector-mode"] == "disabled"
    controllers, cidrs, finished = config["kube-controller-manager-arg"][-3:]
    assert finished == "terminated-pod-gc-threshold=100"
    assert controllers.startswith("controllers=*,tokencleaner,-")
    assert {name for name in controllers.split(",") if name.startswith("-")} == {
        "-node-ipam-controller",
        "-node-lifecycle-controller",
        "-persistentvolume-attach-detach-controller",
        "-persistentvolume-binder-controller",
        "-persistentvolume-expander-controller",
        "-taint-eviction-controller",
    }
    assert cidrs == "allocate-node-cidrs=false"


def test_its_pods_find_their_own_api_and_dns():
    config = server_config()
    assert config["cluster-dns"] == "10.43.1.2"
    assert "cluster-cidr" not in config
    assert "coredns" not in config["disable"]
    assert config["tls-san"][-1] == "10.43.1.1"
    assert "192.0.2.10" in config["tls-san"]


def test_a_dedicated_one_knows_nothing_of_it():
    rendering = render({"account": True})
    objects = cluster.everything(rendering)
    # A policy names all parts that there can be.
    told = (obj for obj in objects if obj["kind"] not in ("Secret", "NetworkPolicy"))
    texts = [server.config(rendering), *told]
    texts += [list(obj["data"]) for obj in objects if obj["kind"] == "Secret"]
    for word in ("syncer", "disable-scheduler", "controllers=", "allocate-node-cidrs", "cluster-dns"):
        assert word not in json.dumps(texts)
    assert "publishNotReadyAddresses" not in cluster.foundation(rendering)[1]["spec"]


def test_the_foundation_has_the_services_whose_addresses_the_rest_needs():
    rendering = render(**SHARED)
    assert rendering.lacks_addresses
    services = {obj["metadata"]["name"] for obj in cluster.foundation(rendering) if obj["kind"] == "Service"}
    assert services == {"api", "kubernetes", "dns", "syncer"}


@pytest.mark.parametrize(
    ("host", "changes", "lacks"),
    [
        (ADDRESSES, SHARED, False),
        *(({**ADDRESSES, name: ""}, SHARED, True) for name in ADDRESSES),
        (ADDRESSES, {**SHARED, "expose": {"type": "ClusterIP", "address": None}}, True),
        ({**ADDRESSES, "cluster_ip": "10.43.1.3"}, {**SHARED, "expose": {"type": "ClusterIP", "address": None}}, False),
        ({}, {"agents": 0}, False),
        # Agents know their server by it.
        ({}, {}, True),
        ({"cluster_ip": "10.43.1.3"}, {}, False),
        ({}, {"expose": {"type": "ClusterIP", "address": None}}, True),
    ],
)
def test_addresses_are_waited_for_where_the_configuration_has_them(host, changes, lacks):
    assert render(host, **changes).lacks_addresses is lacks


def test_dns_is_the_tenants_coredns():
    spec = objects()["Service", "dns"]["spec"]
    assert spec["selector"] == {
        "app.kubernetes.io/component": "pod",
        "app.kubernetes.io/managed-by": "tenantry-syncer",
        "tenantry.dev/tenant": "payments",
        "tenantry.dev/vcluster": "dev",
        "tenantry.dev/virtual-namespace": "88007f7066",
        "x.tenantry.dev/k8s-app": "kube-dns",
    }
    assert [(port["protocol"], port["port"], port["targetPort"]) for port in spec["ports"]] == [
        ("UDP", 53, 53),
        ("TCP", 53, 53),
    ]


def test_the_api_inside_is_the_servers_whether_or_not_the_syncer_is_ready():
    found = objects()
    spec = found["Service", "kubernetes"]["spec"]
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(443, 6443)]
    assert spec["selector"] == found["StatefulSet", "server"]["spec"]["selector"]["matchLabels"]
    assert spec["publishNotReadyAddresses"] is found["Service", "api"]["spec"]["publishNotReadyAddresses"] is True


def test_no_service_or_quota_of_ours_takes_a_tenants_pod():
    """The tenant's pods differ from the server in labels that the tenant cannot set."""
    tenants = {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev", "app.kubernetes.io/component": "pod"}
    tenants["app.kubernetes.io/managed-by"] = naming.MANAGED_BY_SYNCER
    found = objects()
    for key in (("Service", "api"), ("Service", "server"), ("Service", "kubernetes")):
        assert not found[key]["spec"]["selector"].items() <= tenants.items()
    quota = found["PodDisruptionBudget", "server"]["spec"]["selector"]["matchLabels"]
    assert not quota.items() <= tenants.items()


def test_what_the_syncer_makes_is_nothing_of_ours():
    owned = naming.selector("vcluster", tenant="payments", vcluster="dev").split(",")
    assert f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}" in owned
    made = {"metadata": {"labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY_SYNCER}}}
    assert not naming.is_ours(made)


@pytest.mark.parametrize("part", ["server", "syncer"])
def test_the_hosts_dns_is_not_asked(part):
    spec = pod(part)
    assert spec["dnsPolicy"] == "Default"
    assert "hostAliases" not in spec


@pytest.mark.parametrize("part", ["server", "syncer"])
def test_the_pod_meets_the_restricted_level(part):
    spec = pod(part, pod_security="restricted")
    assert spec["securityContext"]["runAsNonRoot"] is True
    for one in spec["containers"]:
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert syncer()["securityContext"]["readOnlyRootFilesystem"] is True
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"secret", "projected", "emptyDir", "persistentVolumeClaim"}


@pytest.mark.parametrize(
    ("given", "level"), [(None, "baseline"), ("baseline", "baseline"), ("restricted", "restricted")]
)
def test_pod_security_is_what_the_host_enforces(given, level):
    labels = objects(pod_security=given)["Namespace", "payments--dev"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == level


def test_it_has_nothing_of_agents():
    assert not [name for _kind, name in objects() if "agent" in name]


@pytest.mark.parametrize("part", ["server", "syncer"])
def test_nothing_else_replaces_the_pod(part):
    assert stamp(part=part) == stamp(part=part, resources={**SHARED["resources"], "cpu": "8"})
    assert stamp(part=part) != stamp({"dns_ip": "10.43.9.9"}, part)


def test_the_image_is_as_given():
    image = "registry.example.com/syncer:1"
    assert syncer(syncer_image=image)["image"] == image


def test_the_keys_of_a_new_one_differ():
    made = common.keys(None, None)
    assert made.syncer_token not in (made.server_token, made.platform_token)
    assert len(made.syncer_token) == 64
