"""The syncer of a virtual cluster in mode shared, and its configuration."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import host_networks
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import HostNetworks
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac

from ..example import KEYS, SHARED, render
from ..shared_objects import PARTS, decoded, objects, pod, stamp, syncer, syncer_config


def test_the_syncer_knows_what_it_needs():
    assert syncer_config() == {
        "namespace": "payments--dev",
        "labels": {"tenantry.dev/tenant": "payments", "tenantry.dev/vcluster": "dev"},
        "service_account": "pods",
        "priority_class": "tenantry-dev",
        "cluster_domain": "cluster.local",
        "dns_address": "10.43.1.2",
        "api_address": "10.43.1.1",
        "address": "10.43.1.4",
        "version": "v1.34.4+k3s1",
        "pod_security": "baseline",
        "container_defaults": {
            "limits": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "512Mi"},
            "requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
        },
        "storage_classes": None,
        "ingress_classes": [],
        "ingress_hosts": [],
        "ingress_implementation_specific_paths": False,
        "hosts_image": "registry.example.com/tenantry/syncer:0.1.0",
    }
    given = syncer_config(storage_classes=["fast"], ingress_classes=["nginx"], ingress_hosts=["*.example.com"])
    assert (given["storage_classes"], given["ingress_classes"]) == (["fast"], ["nginx"])
    assert given["ingress_hosts"] == ["*.example.com"]
    assert syncer_config(storage_classes=[])["storage_classes"] == []
    credentials = [{"registry": "registry.example.com", "username": "u", "password": "p"}]
    assert syncer_config(image_credentials=credentials)["hosts_image"] == ""
    assert syncer_config(container_defaults={"cpu": "1", "memory": "511Mi"})["container_defaults"] == {
        "limits": {"cpu": "1", "memory": "511Mi", "ephemeral-storage": "512Mi"},
        "requests": {"cpu": "500m", "memory": "255Mi", "ephemeral-storage": "64Mi"},
    }


def test_limits_are_the_syncers_to_fill_in():
    """A limit range would contradict higher requests, and limit each container of a pod that has limits as a whole."""
    (only,) = objects()["LimitRange", "defaults"]["spec"]["limits"]
    assert only["default"] == {"ephemeral-storage": "512Mi"}, "of processor and memory the syncer knows more"


def test_only_the_syncer_can_use_the_hosts_api():
    """k3s, which tenants talk to, is in another pod, whose account may do nothing."""
    accounts = {part: (pod(part)["serviceAccountName"], pod(part)["automountServiceAccountToken"]) for part in PARTS}
    assert accounts == {"server": ("vcluster", False), "syncer": ("syncer", False)}
    assert [one["name"] for one in pod()["containers"]] == ["k3s"]
    with_token = {part for part in PARTS if "serviceAccountToken" in json.dumps(pod(part)["volumes"])}
    assert with_token == {"syncer"}


def test_the_syncer_writes_to_one_directory_only():
    assert [one["name"] for one in syncer()["volumeMounts"] if not one.get("readOnly")] == ["syncer-tmp"]


def test_one_syncer_runs_on_the_node_of_its_server():
    """Or it would depend on two nodes."""
    found = objects(server={"cpu": "1", "memory": "1Gi", "node_selector": {"pool": "a"}, "anti_affinity": "required"})
    spec = found["StatefulSet", "syncer"]["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    server = found["StatefulSet", "server"]["spec"]["template"]["metadata"]["labels"]
    assert term == {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": server}}
    assert spec["nodeSelector"] == {"pool": "a"}


def test_there_are_as_many_syncers_as_servers():
    many = {"servers": 3, "resources": {"cpu": "8", "memory": "8Gi", "pods": 20}}
    many["datastore"] = {"endpoint": "postgres://kine:secret@192.0.2.9/dev"}
    found = objects(**many)
    assert found["StatefulSet", "syncer"]["spec"]["replicas"] == 3
    assert "podAffinity" not in found["StatefulSet", "syncer"]["spec"]["template"]["spec"].get("affinity", {})
    quota, template = found["PodDisruptionBudget", "syncer"], found["StatefulSet", "syncer"]["spec"]["template"]
    assert quota["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert ("PodDisruptionBudget", "syncer") not in objects()
    with pytest.raises(TenantryError, match=r"resources\.pods: 5 is too small .* Set 6 or more"):
        objects(**{**many, "resources": {"cpu": "8", "memory": "8Gi", "pods": 5}})


def test_the_api_inside_finds_the_syncer_at_its_service():
    found = objects()
    spec = found["Service", "syncer"]["spec"]
    assert [port["targetPort"] for port in spec["ports"]] == [10250, 10251]
    assert spec["selector"] == found["StatefulSet", "syncer"]["spec"]["selector"]["matchLabels"]


def test_its_token_is_one_of_k3s():
    found = objects()
    assert decoded(found["Secret", "join-token"], "syncer-token") == KEYS.syncer_token
    lines = decoded(found["Secret", "server-config"], "tokens.csv").splitlines()
    assert lines[1] == f'{KEYS.syncer_token},tenantry:syncer,tenantry:syncer,"system:masters"'
    assert len(lines) == 2
    text = json.dumps([obj for (kind, _name), obj in found.items() if kind != "Secret"])
    assert KEYS.server_token not in text.replace('"server-token"', "")


def test_the_syncer_is_small():
    assert syncer()["resources"] == {
        "limits": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "256Mi"},
        "requests": {"cpu": "10m", "memory": "44Mi", "ephemeral-storage": "64Mi"},
    }


def test_the_syncer_knows_which_extended_resources_the_quota_limits():
    given = {**SHARED["resources"], "extended": {"nvidia.com/gpu": 2, "hugepages-2Mi": "64Mi"}}
    assert syncer_config(resources=given)["extended"] == ["hugepages-2Mi", "nvidia.com/gpu"]


def test_the_syncer_has_its_role_in_the_namespace_and_the_tenants_pods_have_none():
    found = objects()
    assert found["Role", "syncer"]["rules"] == rbac.SYNCER
    bindings = [obj for (kind, _name), obj in found.items() if kind == "RoleBinding"]
    assert [(b["roleRef"]["kind"], b["roleRef"]["name"], b["subjects"]) for b in bindings] == [
        ("Role", "syncer", [{"kind": "ServiceAccount", "name": "syncer", "namespace": "payments--dev"}])
    ]
    accounts = {name: obj for (kind, name), obj in found.items() if kind == "ServiceAccount"}
    assert set(accounts) == {"syncer", "pods", "vcluster"}
    assert {obj["automountServiceAccountToken"] for obj in accounts.values()} == {False}


@pytest.mark.parametrize(
    "changes",
    [
        {"storage_classes": ["fast"]},
        {"pod_security": "restricted"},
        {"container_defaults": {"cpu": "1", "memory": "1Gi"}},
        {"ingress_classes": ["nginx"], "ingress_hosts": ["a.example.com"]},
        {"version": "v1.34.5+k3s1"},
    ],
)
def test_a_changed_configuration_of_the_syncer_replaces_its_pod_and_no_server(changes):
    assert stamp(part="syncer") != stamp(part="syncer", **changes)
    assert stamp() == stamp(**changes)


def networks(**changes) -> dict:
    host = HostNetworks(
        pods=("10.42.0.0/24",), services=("10.43.0.0/16",), nodes=("192.0.2.11",), api=(("192.0.2.10", 6443),)
    )
    return json.loads(decoded(objects({"host": host}, **changes)["Secret", "syncer-networks"], "networks.json"))


def test_the_syncer_knows_what_is_closed_to_pods():
    """What network policies close, and no more: hand-made endpoints lead where the pods may send packets."""
    told = networks()
    assert {"10.42.0.0/24", "10.43.0.0/16", "192.0.2.11", "192.0.2.10"} <= set(told["closed"])
    assert set(host_networks.METADATA) <= set(told["closed"])
    assert told["open"] == []
    changed = networks(network={"egress_deny": ["198.51.100.0/24"], "egress_allow": ["192.0.2.10/32"]})
    assert (set(changed["closed"]) - set(told["closed"]), changed["open"]) == ({"198.51.100.0/24"}, ["192.0.2.10/32"])


def test_nothing_restarts_when_the_hosts_networks_change():
    assert stamp({"host": HostNetworks(nodes=("192.0.2.12",))}) == stamp()
    assert stamp({"storage_classes": (storage_class("fast"),)}) == stamp()


def storage_class(name: str, created: str = "2026-01-01T00:00:00Z", default: str = "false", **fields) -> dict:
    notes = {"storageclass.kubernetes.io/is-default-class": default}
    metadata = {"name": name, "creationTimestamp": created, "annotations": notes}
    return {"metadata": metadata, "provisioner": "csi.example.com", "parameters": {"secret": "s"}, **fields}


@pytest.mark.parametrize(
    ("offered", "names", "default"),
    [
        (None, ["fast", "new", "old"], "new"),
        (["fast", "old"], ["fast", "old"], "old"),
        (["fast", "gone"], ["fast"], "fast"),
        (["gone"], [], None),
        ([], [], None),
    ],
)
def test_the_syncer_knows_of_the_storage_classes_that_are_offered(offered, names, default):
    """Of several defaults the host takes the one that was created last."""
    found = (
        storage_class("fast", allowVolumeExpansion=True, volumeBindingMode="WaitForFirstConsumer"),
        storage_class("new", "2026-02-01T00:00:00Z", "true"),
        storage_class("old", default="true", reclaimPolicy="Retain"),
    )
    secret = objects({"storage_classes": found}, storage_classes=offered)["Secret", "syncer-networks"]
    told = {one["name"]: one for one in json.loads(decoded(secret, "storage-classes.json"))}
    assert list(told) == names
    assert [name for name, one in told.items() if one["default"]] == ([default] if default else [])
    if "fast" in told:
        shown = {"allowVolumeExpansion": True, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"}
        assert told["fast"] == {"name": "fast", "default": default == "fast", **shown}


def test_paths_of_the_controllers_own_are_offered_in_mode_shared_alone():
    assert syncer_config(ingress_implementation_specific_paths=True)["ingress_implementation_specific_paths"] is True
    with pytest.raises(TenantryError, match="ingress_implementation_specific_paths: applies to mode shared only"):
        render(ingress_implementation_specific_paths=True)
