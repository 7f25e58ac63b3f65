"""What a virtual cluster of mode shared consists of."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster as _render_vcluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import common as _render_base
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as _render_server

from .example import KEYS, SHARED, render

ADDRESSES = {"kubernetes_ip": "10.43.1.1", "dns_ip": "10.43.1.2"}


def objects(host: dict | None = None, **changes) -> dict[tuple[str, str], dict]:
    rendering = render({**ADDRESSES, **(host or {})}, **{**SHARED, **changes})
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in _render_vcluster.everything(rendering)}


def decoded(secret: dict, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def server_config(**host) -> dict:
    return json.loads(decoded(objects(host)["Secret", "server-config"], "config.yaml"))


def syncer_config(**changes) -> dict:
    return json.loads(decoded(objects(**changes)["Secret", "syncer-config"], "config.json"))


def pod(**changes) -> dict:
    return objects(**changes)["StatefulSet", "server"]["spec"]["template"]["spec"]


def stamp(host: dict | None = None, **changes) -> str:
    template = objects(host, **changes)["StatefulSet", "server"]["spec"]["template"]
    return template["metadata"]["annotations"][_render_server.CONFIG_HASH]


def test_its_pods_are_scheduled_by_the_host():
    config = server_config()
    assert config["disable-scheduler"] is True
    assert config["disable-agent"] is True
    assert config["egress-selector-mode"] == "disabled"
    controllers, cidrs = config["kube-controller-manager-arg"][-2:]
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
    rendering = render({"member": True})
    objects = _render_vcluster.everything(rendering)
    texts = [_render_server.config(rendering), *(obj for obj in objects if obj["kind"] != "Secret")]
    texts += [list(obj["data"]) for obj in objects if obj["kind"] == "Secret"]
    for word in ("syncer", "disable-scheduler", "controllers=", "allocate-node-cidrs", "cluster-dns"):
        assert word not in json.dumps(texts)
    assert "publishNotReadyAddresses" not in _render_vcluster.foundation(rendering)[1]["spec"]


def test_the_foundation_has_the_services_whose_addresses_the_rest_needs():
    rendering = render(**SHARED)
    assert rendering.lacks_addresses
    services = {obj["metadata"]["name"] for obj in _render_vcluster.foundation(rendering) if obj["kind"] == "Service"}
    assert services == {"api", "kubernetes", "dns"}


@pytest.mark.parametrize(
    ("host", "changes", "lacks"),
    [
        (ADDRESSES, SHARED, False),
        ({"dns_ip": "10.43.1.2"}, SHARED, True),
        (ADDRESSES, {**SHARED, "expose": {"type": "ClusterIP", "address": None}}, True),
        ({**ADDRESSES, "cluster_ip": "10.43.1.3"}, {**SHARED, "expose": {"type": "ClusterIP", "address": None}}, False),
        ({}, {}, False),
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


def test_no_service_or_budget_of_ours_takes_a_tenants_pod():
    """The tenant's pods differ from the server in labels that the tenant cannot set."""
    tenants = {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev", "app.kubernetes.io/component": "pod"}
    tenants["app.kubernetes.io/managed-by"] = _names.MANAGED_BY_SYNCER
    found = objects()
    for key in (("Service", "api"), ("Service", "server"), ("Service", "kubernetes")):
        assert not found[key]["spec"]["selector"].items() <= tenants.items()
    budget = found["PodDisruptionBudget", "server"]["spec"]["selector"]["matchLabels"]
    assert not budget.items() <= tenants.items()


def test_what_the_syncer_makes_is_nothing_of_ours():
    owned = _names.selector("vcluster", tenant="payments", vcluster="dev").split(",")
    assert f"{_names.LABEL_MANAGED_BY}={_names.MANAGED_BY}" in owned
    made = {"metadata": {"labels": {_names.LABEL_MANAGED_BY: _names.MANAGED_BY_SYNCER}}}
    assert not _names.is_ours(made)


def test_the_syncer_is_told_what_it_needs():
    assert syncer_config() == {
        "namespace": "payments--dev",
        "labels": {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev"},
        "service_account": "pods",
        "priority_class": "tenantry-dev",
        "cluster_domain": "cluster.local",
        "dns_address": "10.43.1.2",
        "api_address": "10.43.1.1",
        "version": "v1.34.4+k3s1",
        "pod_security": "baseline",
        "storage_classes": None,
        "ingress_classes": [],
        "ingress_hosts": [],
    }
    given = syncer_config(storage_classes=["fast"], ingress_classes=["nginx"], ingress_hosts=["*.example.com"])
    assert (given["storage_classes"], given["ingress_classes"]) == (["fast"], ["nginx"])
    assert given["ingress_hosts"] == ["*.example.com"]
    assert syncer_config(storage_classes=[])["storage_classes"] == []


def test_only_the_syncer_can_use_the_hosts_api():
    """A mounted credential of the host must not be within reach of k3s, which tenants talk to."""
    spec = pod()
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("syncer", False)
    (credential,) = [
        volume["name"]
        for volume in spec["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", ()))
    ]
    mounted = [one["name"] for one in spec["containers"] if credential in {m["name"] for m in one["volumeMounts"]}]
    assert mounted == ["syncer"]


def test_the_syncer_has_a_directory_of_its_own_to_write_in():
    k3s, syncer = pod()["containers"]
    writable = [{m["name"] for m in one["volumeMounts"] if not m.get("readOnly")} for one in (k3s, syncer)]
    assert writable[0].isdisjoint(writable[1])
    assert len(writable[1]) == 1


def test_its_token_is_one_of_k3s():
    found = objects()
    assert decoded(found["Secret", "join-token"], "syncer-token") == KEYS.syncer_token
    lines = decoded(found["Secret", "server-config"], "tokens.csv").splitlines()
    assert lines[1] == f'{KEYS.syncer_token},tenantry:syncer,tenantry:syncer,"system:masters"'
    assert len(lines) == 2
    text = json.dumps([obj for (kind, _name), obj in found.items() if kind != "Secret"])
    assert KEYS.server_token not in text.replace('"server-token"', "")


def test_the_pod_meets_the_restricted_level():
    spec = pod(pod_security="restricted")
    assert spec["securityContext"]["runAsNonRoot"] is True
    for one in spec["containers"]:
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["containers"][1]["securityContext"]["readOnlyRootFilesystem"] is True
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"secret", "projected", "emptyDir", "persistentVolumeClaim"}


@pytest.mark.parametrize(
    ("given", "level"), [(None, "baseline"), ("baseline", "baseline"), ("restricted", "restricted")]
)
def test_pod_security_is_what_the_host_enforces(given, level):
    labels = objects(pod_security=given)["Namespace", "payments--dev"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == level


@pytest.mark.parametrize("tier", ["dev", "prod"])
def test_the_server_fits_into_the_smallest_slice(tier):
    found = objects(tier=tier, slice={"cpu": "1500m", "memory": "1152Mi", "pods": 1})
    hard = found["ResourceQuota", "slice"]["spec"]["hard"]
    for resource in ("cpu", "memory"):
        for which in ("limits", "requests"):
            containers = found["StatefulSet", "server"]["spec"]["template"]["spec"]["containers"]
            amounts = [_quantities.parse(one["resources"][which][resource], "amount") for one in containers]
            assert sum(amounts) <= _quantities.parse(hard[f"{which}.{resource}"], "amount"), (which, resource)


def test_the_syncer_is_small():
    syncer = pod()["containers"][1]
    assert syncer["resources"] == {
        "limits": {"cpu": "500m", "memory": "128Mi"},
        "requests": {"cpu": "25m", "memory": "64Mi"},
    }


def test_claims_are_limited_by_the_storage_they_ask_for():
    hard = objects()["ResourceQuota", "slice"]["spec"]["hard"]
    assert int(hard["persistentvolumeclaims"]) > 1
    assert {"services", "count/secrets", "count/configmaps"} <= set(hard)
    assert hard["requests.storage"] == "5Gi"
    assert (hard["services.nodeports"], hard["services.loadbalancers"], hard["pods"]) == ("1", "0", "20")


def test_the_syncer_has_its_role_in_the_namespace_and_the_tenants_pods_have_none():
    found = objects()
    assert found["Role", "syncer"]["rules"] == _roles.SYNCER
    bindings = [obj for (kind, _name), obj in found.items() if kind == "RoleBinding"]
    assert [(b["roleRef"]["kind"], b["roleRef"]["name"], b["subjects"]) for b in bindings] == [
        ("Role", "syncer", [{"kind": "ServiceAccount", "name": "syncer", "namespace": "payments--dev"}])
    ]
    accounts = {name: obj for (kind, name), obj in found.items() if kind == "ServiceAccount"}
    assert set(accounts) == {"syncer", "pods"}
    assert {obj["automountServiceAccountToken"] for obj in accounts.values()} == {False}


def test_it_has_nothing_of_agents():
    assert not [name for _kind, name in objects() if "agent" in name]


@pytest.mark.parametrize(
    "changes",
    [
        {"storage_classes": ["fast"]},
        {"pod_security": "restricted"},
        {"ingress_classes": ["nginx"], "ingress_hosts": ["a.example.com"]},
        {"version": "v1.34.5+k3s1"},
    ],
)
def test_a_changed_configuration_of_the_syncer_replaces_the_pod(changes):
    assert stamp() != stamp(**changes)


def test_nothing_else_replaces_the_pod():
    assert stamp() == stamp(slice={**SHARED["slice"], "cpu": "8"})
    assert stamp() != stamp({"dns_ip": "10.43.9.9"})


def test_the_image_is_as_given():
    assert (
        pod(syncer_image="registry.example.com/syncer:1")["containers"][1]["image"] == "registry.example.com/syncer:1"
    )


def test_the_keys_of_a_new_one_differ():
    made = _render_base.keys(None, None)
    assert made.syncer_token not in (made.server_token, made.platform_token)
    assert len(made.syncer_token) == 64
