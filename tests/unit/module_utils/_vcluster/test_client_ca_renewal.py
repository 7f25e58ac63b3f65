"""The CA for client certificates that are requested inside, and where it is found."""

from __future__ import annotations

import base64
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca, cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    keys,
    secret,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import parse_k3s
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .example import render

NAMESPACE = "payments--dev"
SPACE = {"metadata": {"name": NAMESPACE, "annotations": {}}}


def signed_by(files: dict[str, str]) -> str:
    """As the API server has it in a request."""
    ca = x509.load_pem_x509_certificate(files["ca.crt"].encode())
    key = serialization.load_pem_private_key(files["ca.key"].encode(), None)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().issuer_name(ca.subject).serial_number(1)
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "eve")]))
    builder = builder.public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def test_make_yields_a_ca_that_signs_only_leaves() -> None:
    files = client_ca.make(NAMESPACE)
    ca = x509.load_pem_x509_certificate(files["ca.crt"].encode())
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert files["ca.key"] in keys(None, None, None, files).secrets


def test_is_of_tells_current_replaced_and_foreign() -> None:
    now, before, foreign = (client_ca.make(name) for name in (NAMESPACE, NAMESPACE, "k3s"))
    assert client_ca.is_of(signed_by(now), now["ca.crt"]) is True
    assert client_ca.is_of(signed_by(before), now["ca.crt"]) is False
    assert client_ca.is_of(signed_by(foreign), now["ca.crt"]) is None
    assert client_ca.is_of(signed_by(now), None) is None
    assert client_ca.is_of("bm9uZQ==", now["ca.crt"]) is None


def test_server_signs_with_it_and_trusts_it_beside_k3s() -> None:
    config = server_manifests.config(render())
    assert {*client_ca.ARGUMENTS} <= {*config["kube-controller-manager-arg"]}
    assert f"client-ca-file={server_manifests.CLIENT_CAS}" in config["kube-apiserver-arg"]
    assert not [one for one in config["kube-controller-manager-arg"] if "kubelet-serving" in one or "root-ca" in one]
    pod = server_manifests.stateful_set(render())["spec"]["template"]["spec"]
    assert "client-ca" in [one.get("secret", {}).get("secretName") for one in pod["volumes"]]
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert mounts["client-ca"] == client_ca.DIRECTORY
    assert "$$" not in pod["containers"][0]["command"][-1], "Kubernetes makes one of them"


def test_another_ca_replaces_the_pods_and_nothing_else() -> None:
    def objects(files: dict[str, str]) -> dict[str, Any]:
        rendering = render()
        found = cluster.everything(replace(rendering, keys=replace(rendering.keys, client_ca=files)))
        return {f"{one['kind']} {one['metadata']['name']}": one for one in found}

    one, other = (objects(client_ca.make(NAMESPACE)) for _number in range(2))
    assert {name for name in one if one[name] != other[name]} == {"Secret client-ca", "StatefulSet server"}
    templates = [found["StatefulSet server"]["spec"]["template"] for found in (one, other)]
    assert templates[0]["spec"] == templates[1]["spec"]
    differing = {
        name
        for name, value in templates[0]["metadata"]["annotations"].items()
        if templates[1]["metadata"]["annotations"][name] != value
    }
    assert differing == {client_ca.ANNOTATION}


@pytest.mark.parametrize("flag", [one.partition("=")[0] for one in client_ca.ARGUMENTS])
def test_k3s_config_with_another_signer_is_refused(flag: str) -> None:
    with pytest.raises(TenantryError, match="is set by the platform"):
        parse_k3s({"agents": 0, "k3s_config": {"kube-controller-manager-arg": [f"{flag}=/tmp/own"]}})


class Host:
    """With the StatefulSet of a server, or none."""

    name = "hub"

    def __init__(self, server: dict | None) -> None:
        self.server = server

    def get(self, *_what: str) -> dict | None:
        return self.server


def _found(files: dict[str, str], **annotations: str) -> dict:
    return secret(
        {"name": "client-ca", "namespace": NAMESPACE, "labels": {"a": "b"}, "annotations": annotations}, files
    )


def test_renewal_plans_what_the_next_run_would_render() -> None:
    before, server = client_ca.make(NAMESPACE), server_manifests.stateful_set(render())
    found = _found(before, **{"former.tenantry.dev/carol": ""})
    assert client_ca_renewal.former(found) == {"carol"}
    plan = client_ca_renewal.Renewal.plan(VirtualCluster(Host(server), SPACE), found, {"carol", "bob"})
    assert [(row["kind"], row["name"]) for row in plan.shown.rows()] == [
        ("Secret", "client-ca"),
        ("StatefulSet", "server"),
    ]
    assert plan.first == "bob"
    ca, annotations = plan.certificate, plan.steps[0][1].after["spec"]["template"]["metadata"]["annotations"]
    assert ca != before["ca.crt"]
    rendering = render()
    rendering = replace(rendering, keys=replace(rendering.keys, client_ca={"ca.crt": ca}))
    rendered = server_manifests.stateful_set(rendering)["spec"]["template"]["metadata"]["annotations"]
    assert annotations.items() <= rendered.items()
    shown = plan.shown.diff()
    assert "redacted" in shown["after"]
    assert base64.b64encode(ca.encode()).decode() not in shown["after"]


def test_renewal_has_all_values_from_its_start() -> None:
    """Also where no certificates are accepted, so that nothing changes."""
    files = client_ca.kept_or_new({}, NAMESPACE, accepted=False)
    renewal = client_ca_renewal.Renewal.plan(VirtualCluster(Host(None), SPACE), _found(files), {"bob"})
    assert (renewal.first, renewal.ended, renewal.certificate) == ("bob", files["ca.crt"], files["ca.crt"])
    assert (list(renewal.steps), renewal.shown.changed) == ([], False)
    with pytest.raises(FrozenInstanceError):
        renewal.first = "carol"  # type: ignore[misc]  # what is tested


def test_several_servers_first_sign_with_a_ca_that_nobody_trusts() -> None:
    server, files = server_manifests.stateful_set(render()), client_ca.make(NAMESPACE)
    assert len(client_ca_renewal.Renewal.plan(VirtualCluster(Host(server), SPACE), _found(files), {"bob"}).steps) == 1
    server["spec"]["replicas"] = 3
    renewal = client_ca_renewal.Renewal.plan(VirtualCluster(Host(server), SPACE), _found(files), {"bob"})
    between, at_last = (decoded(step[0].after) for step in renewal.steps)
    assert between["untrusted"]
    assert at_last["untrusted"] == ""
    assert len({files["ca.crt"], between["ca.crt"], at_last["ca.crt"]}) == 3
    assert renewal.certificate == at_last["ca.crt"]


def test_certificates_are_accepted_only_where_the_option_says_so() -> None:
    off = client_ca.kept_or_new({}, NAMESPACE, accepted=False)
    assert client_ca.is_off(off)
    assert client_ca.kept_or_new(off, NAMESPACE, accepted=False) == off
    on = client_ca.kept_or_new(off, NAMESPACE, accepted=True)
    assert not client_ca.is_off(on)
    assert on["ca.crt"] != off["ca.crt"], "what was signed while it was off would be accepted"
    assert client_ca.kept_or_new(on, NAMESPACE, accepted=True) == on
    assert client_ca.kept_or_new(on, NAMESPACE, accepted=False) == {**on, "untrusted": off["untrusted"]}
    assert (client_ca_renewal.accepted(_found(off)), client_ca_renewal.accepted(_found(on))) == (False, True)


def test_an_interrupted_renewal_stays_one_under_the_option() -> None:
    server = server_manifests.stateful_set(render())
    server["spec"]["replicas"] = 3
    renewal = client_ca_renewal.Renewal.plan(
        VirtualCluster(Host(server), SPACE), _found(client_ca.make(NAMESPACE)), {"bob"}
    )
    between = decoded(renewal.steps[0][0].after)
    assert client_ca.kept_or_new(between, NAMESPACE, accepted=True) == between


@pytest.mark.parametrize(
    ("found", "record", "told"),
    [
        (None, "{}", "it has no CA of its own"),
        (_found({"ca.crt": "a"}), '{"persistence": "none"}', "it has no volume"),
    ],
)
def test_renewal_that_cannot_be_is_refused(found: dict | None, record: str, told: str) -> None:
    space = {"metadata": {"name": NAMESPACE, "annotations": {"tenantry.dev/spec": record}}}
    host = Host(server_manifests.stateful_set(render()))
    with pytest.raises(TenantryError, match=f"revoke_certificates: {told}"):
        client_ca_renewal.Renewal.plan(VirtualCluster(host, space), found, {"bob"})
