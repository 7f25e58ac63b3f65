"""Three servers with an etcd of their own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    cluster,
    etcd_certificates,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    RenderContext,
    keys,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster as cluster_spec
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ..example import SHARED, make_item

NAMESPACE = "payments--dev"
MEMBERS = [f"etcd-{number}" for number in range(3)]


def parsed(**changes: Any) -> cluster_spec.VClusterSpec:
    return cluster_spec.parse(make_item(**{"servers": 3, **changes}))


def rendered(host: dict[str, Any] | None = None, **changes: Any) -> RenderContext:
    spec = parsed(**changes)
    made = keys(None, None, etcd_certificates.make(spec.namespace, "etcd"))
    return RenderContext(spec, made, **{"address": "192.0.2.10", **(host or {})})


def everything(**changes: Any) -> list[dict]:
    return cluster.everything(rendered(**changes))


def named(objects: list[dict], kind: str, name: str) -> dict:
    (found,) = (one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def arguments(objects: list[dict]) -> dict[str, str]:
    (container,) = named(objects, "StatefulSet", "etcd")["spec"]["template"]["spec"]["containers"]
    pairs = (one.removeprefix("--").split("=", 1) for one in container["command"][1:])
    return dict(pairs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"persistence": {"type": "none"}}, "persistence.type: none is not possible with three servers"),
        ({"persistence": {"size": "512Mi"}}, "persistence.size: 512Mi is too small for the volume of each etcd member"),
        ({"etcd": {"image": "etcd"}}, "etcd.image: "),
        ({"etcd": {"cpu": "10m"}}, "etcd.cpu: "),
        ({"etcd": {"memory": "64Mi"}}, "etcd.memory: "),
        ({"durability": "normal"}, "durability: "),
    ],
)
def test_what_does_not_fit_is_refused(changes, told):
    with pytest.raises(TenantryError, match=told):
        parsed(**changes)


def test_a_default_of_all_virtual_clusters_is_of_no_concern_to_one_server():
    assert parsed(servers=1, etcd={"image": "registry.example.com/etcd:3.6.5"}).etcd is None


def test_its_members_are_part_of_the_resources():
    one, three = parsed(servers=1, agents=0).resources, parsed(agents=0).resources
    member = parsed().etcd.resources
    assert three.cpu == 3 * (one.cpu + member.cpu)
    assert three.memory == 3 * (one.memory + member.memory)
    assert three.storage == 3 * one.storage, "a volume for each member, and none for a server"
    assert three.pods == 6


def test_a_server_more_or_less_is_another_datastore():
    one, three = parsed(servers=1), parsed()
    for before, after in ((one, three), (three, one)):
        record = before.record("")
        with pytest.raises(TenantryError, match=f"servers: cannot be changed from {before.servers} to {after.servers}"):
            cluster_spec.check_change(record, after)
        cluster_spec.check_change(record, before)


def test_every_member_knows_all_by_names_that_stay():
    given = arguments(everything())
    names = [f"https://{name}.etcd.{NAMESPACE}.svc" for name in MEMBERS]
    assert given["initial-cluster"] == ",".join(f"{m}={name}:2380" for m, name in zip(MEMBERS, names, strict=True))
    assert given["name"] == "$(POD_NAME)"
    assert given["initial-advertise-peer-urls"] == f"https://$(POD_NAME).etcd.{NAMESPACE}.svc:2380"
    for wanted in ("client-cert-auth", "peer-client-cert-auth"):
        assert given[wanted] == "true"


def test_the_servers_have_it_and_no_volume():
    objects = everything()
    config = json.loads(_decoded(named(objects, "Secret", "server-config"))["config.yaml"])
    assert config["datastore-endpoint"] == ",".join(f"https://{m}.etcd.{NAMESPACE}.svc:2379" for m in MEMBERS)
    claims = {one["metadata"]["name"] for one in objects if one["kind"] == "PersistentVolumeClaim"}
    assert claims == {f"data-{member}" for member in MEMBERS}
    volumes = named(objects, "StatefulSet", "server")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {}} in volumes


def test_a_volume_that_grows_changes_no_template():
    small, large = (everything(persistence={"size": size}) for size in ("5Gi", "9Gi"))
    templates = [named(one, "StatefulSet", "etcd")["spec"]["volumeClaimTemplates"] for one in (small, large)]
    assert templates[0] == templates[1]
    assert [Decimal(arguments(one)["quota-backend-bytes"]) * 2 / 2**30 for one in (small, large)] == [5, 9]


def test_no_pod_of_the_tenant_reaches_it():
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in everything(**{**SHARED, "resources": {"cpu": "8", "memory": "8Gi", "pods": 20}})
        if one["kind"] == "NetworkPolicy"
    }
    (part,) = policies["workload"]["podSelector"]["matchExpressions"]
    assert set(part["values"]) == {"server", "etcd", "syncer"}
    assert part["operator"] == "NotIn"
    allowed = [peer["podSelector"]["matchLabels"] for rule in policies["etcd"]["ingress"] for peer in rule["from"]]
    assert [one["app.kubernetes.io/component"] for one in allowed] == ["server", "etcd"]


def test_certificates_prove_who_they_are_and_nobody_can_make_more():
    made = etcd_certificates.make(NAMESPACE, "etcd")
    assert set(made) == set(etcd_certificates.FILES), "the authority's key is not among them"
    files = (made[f"{name}.crt"].encode() for name in ("ca", "server", "client"))
    authority, server, client = map(x509.load_pem_x509_certificate, files)
    builder = PolicyBuilder().store(Store([authority])).time(datetime.now(UTC) + timedelta(days=3600))
    for member in MEMBERS:
        builder.build_server_verifier(x509.DNSName(f"{member}.etcd.{NAMESPACE}.svc")).verify(server, [])
    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("etcd-0.etcd.others--dev.svc")).verify(server, [])
    client.verify_directly_issued_by(authority)
    with pytest.raises(x509.ExtensionNotFound):
        client.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def _decoded(secret: dict) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def test_servers_know_the_members_by_addresses_and_the_members_each_other_by_the_dns():
    """Names stay as they are in the certificates."""
    addresses = ("10.43.2.1", "10.43.2.2", "10.43.2.3")
    objects = cluster.everything(rendered({"etcd_ips": addresses}))
    spec = named(objects, "StatefulSet", "server")["spec"]["template"]["spec"]
    names = [f"{member}.etcd.{NAMESPACE}.svc" for member in MEMBERS]
    assert [(one["ip"], *one["hostnames"]) for one in spec["hostAliases"]] == list(zip(addresses, names, strict=True))
    assert spec["dnsPolicy"] == "Default"
    member = named(objects, "StatefulSet", "etcd")["spec"]["template"]
    assert not {"dnsPolicy", "hostAliases"} & member["spec"].keys()
    for name in MEMBERS:
        selector = named(objects, "Service", name)["spec"]["selector"]
        assert selector == {**member["metadata"]["labels"], "statefulset.kubernetes.io/pod-name": name}
    assert rendered({"etcd_ips": ("10.43.2.1", "", "10.43.2.3"), "cluster_ip": "10.43.1.3"}).lacks_addresses
