"""The issuer that a virtual cluster trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities
from ansible_collections.tenantry.kube.plugins.module_utils._platform import oidc as platform_oidc
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.tests.lab.tls import self_signed

from .._vcluster.example import make_item, render

ISSUER = {"issuer_url": "https://login.example.com/realms/x", "client_id": "kubernetes"}


def _given(**more: Any) -> dict[str, Any]:
    """With the defaults of the argument spec."""
    checked = ArgumentSpecValidator(platform_oidc.OPTIONS).validate({**ISSUER, **more})
    assert not checked.error_messages
    return checked.validated_parameters


def test_the_server_knows_its_issuer_by_its_authentication_file() -> None:
    given = _given(groups_claim="groups", required_claims={"hd": "example.com"})
    rendered = server.authentication(render(oidc=given))
    assert rendered["apiVersion"] == "apiserver.config.k8s.io/v1"
    assert rendered["anonymous"] == server.authentication(render())["anonymous"]
    (jwt,) = rendered["jwt"]
    assert jwt["issuer"] == {"url": ISSUER["issuer_url"], "audiences": ["kubernetes"]}
    assert jwt["claimMappings"] == {
        "username": {"claim": "sub", "prefix": "oidc:"},
        "groups": {"claim": "groups", "prefix": "oidc:"},
    }
    assert jwt["claimValidationRules"] == [{"claim": "hd", "requiredValue": "example.com"}]
    assert "jwt" not in server.authentication(render())
    assert not any("oidc-" in one for one in server.config(render(oidc=given))["kube-apiserver-arg"])


def test_the_record_has_what_kubeconfigs_need_and_the_server_restarts() -> None:
    without, given = render(), render(oidc=_given())
    assert '"oidc": {"client_id": "kubernetes", "groups_prefix": null' in given.spec.record("192.0.2.10").as_text()
    assert "oidc" not in without.spec.record("192.0.2.10").as_text()
    found = [server.stateful_set(one)["spec"]["template"]["metadata"] for one in (without, given)]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("oidc", "told"),
    [
        ({"issuer_url": "http://login.example.com"}, "oidc.issuer_url: \"http://login.example.com\" is not an https://"),
        ({"issuer_url": "https://"}, "oidc.issuer_url"),
        ({"issuer_url": "https://user:pw@x.example.com"}, "without user, query and fragment"),
        ({"issuer_url": "https://x.example.com?a=b"}, "oidc.issuer_url"),
        ({"issuer_url": "https://x.example.com:99999"}, "oidc.issuer_url"),
        ({"client_id": ""}, "oidc.client_id"),
        ({"client_id": "a\nb"}, "oidc.client_id"),
        ({"username_claim": ""}, "oidc.username_claim"),
        ({"groups_claim": "a b"}, "oidc.groups_claim"),
        ({"username_prefix": "system:"}, "oidc.username_prefix: \"system:\" would result in names of Kubernetes"),
        ({"username_prefix": "sys"}, "oidc.username_prefix"),
        ({"groups_prefix": "tenantry:x"}, "oidc.groups_prefix"),
        ({"username_prefix": "-"}, "oidc.username_prefix"),
        ({"required_claims": {"verified": True}}, "oidc.required_claims.verified: must be text, not true. Quote it"),
        ({"ca_file": "/nowhere/ca.pem"}, "oidc.ca_file: cannot read /nowhere/ca.pem: No such file or directory"),
        ({"ca_file": "/etc/hostname"}, "oidc.ca_file: /etc/hostname does not contain a valid certificate"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_option_and_rule(oidc: dict[str, Any], told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(oidc=_given(**oidc)))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_the_cas_file_only_certificates_are_taken(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)[0].read_text()
    file = tmp_path / "ca.pem"
    file.write_text(f"# ours\n{certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    issuer = parse(make_item(oidc=_given(ca_file=str(file)))).oidc
    assert issuer
    assert issuer.authenticator()["issuer"]["certificateAuthority"] == certificate
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(TenantryError, match="does not contain a valid certificate"):
        parse(make_item(oidc=_given(ca_file=str(file))))


def test_flags_of_the_api_server_lead_to_the_option() -> None:
    with pytest.raises(TenantryError, match=r"oidc-issuer-url is set by the platform. Use the option oidc"):
        parse(make_item(k3s_config={"kube-apiserver-arg": ["oidc-issuer-url=https://x.example.com"]}))


def test_a_kubeconfig_names_a_program_and_has_no_token() -> None:
    options = {"username": "erin", "group": None, "hub_prefix": "oidc:", "command": "kubectl", "args": None}
    person = platform_oidc.parse_person(options, "user erin")
    record = parse(make_item(oidc=_given())).oidc.record()
    assert person.plugin(record)["args"] == [
        "oidc-login", "get-token", f"--oidc-issuer-url={ISSUER['issuer_url']}", "--oidc-client-id=kubernetes",
    ]  # fmt: skip
    assert person.inside({**record, "username_prefix": "corp:"})["name"] == "corp:erin"


@pytest.mark.parametrize("hub_prefix", ["oidc:", "corp:", ""])
@pytest.mark.parametrize(("kind", "option"), [("User", "username"), ("Group", "group")])
def test_what_the_hub_keeps_of_a_person_names_the_subject_inside(kind: str, option: str, hub_prefix: str) -> None:
    """Findings compare with it: nobody else may have the rights of that person."""
    options = {"username": None, "group": None, "hub_prefix": hub_prefix, "command": "kubectl", "args": None}
    person = platform_oidc.parse_person({**options, option: "erin of sales"}, "user erin")
    account, *_rights = identities.hub_user("payments", "erin", "admin", None, person)
    account["metadata"]["uid"] = "1"
    found = identities.OnRecord.of(account)
    assert found.person == person.recorded
    record = {"username_prefix": "a:", "groups_prefix": "b:"}
    subject = platform_oidc.subject_inside(found.person, record)
    assert subject == (kind, person.inside(record)["name"])
    assert platform_oidc.subject_inside(found.person, None) is None
    assert platform_oidc.subject_inside("group x", {**record, "groups_prefix": None}) is None
    plain, *_rights = identities.hub_user("payments", "bob", "admin", None)
    plain["metadata"]["uid"] = "2"
    assert identities.OnRecord.of(plain).person is None
