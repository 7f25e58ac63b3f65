"""Errors are one line and never a credential."""

from __future__ import annotations

import json
import ssl
import time

import pytest
import urllib3
from ansible_collections.tenantry.kube.plugins.module_utils._core import errors
from kubernetes.client.exceptions import ApiException

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\n-----END EC PRIVATE KEY-----"


def _answer(status: int, message: str) -> ApiException:
    error = ApiException(status=status, reason="Reason")
    error.body = json.dumps({"kind": "Status", "message": message})
    return error


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503])
def test_refusals(status: int) -> None:
    error = errors.api_error(_answer(status, "because\nof this."), "applying v1/Secret x on hub")
    assert error.status == status
    assert str(error).startswith(f"applying v1/Secret x on hub: {status} because of this; ")
    assert "\n" not in str(error)


def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = {s for s in (400, 401, 403, 404, 409, 422, 410, 429, 500, 503) if errors.ApiError("x", s).transient}
    assert transient == {410, 429, 500, 503}
    assert errors.ApiError("x").transient


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", "[]", "", None, b'{"message": "in bytes"}'])
def test_a_body_that_is_no_status(body: object) -> None:
    error = ApiException(status=502, reason="Bad Gateway")
    error.body = body
    assert str(errors.api_error(error, "x")).startswith("x: 502 ")


@pytest.mark.parametrize("secret", [JWT, KEY, f"Bearer {JWT}"])
def test_no_credential_is_quoted(secret: str) -> None:
    text = str(errors.api_error(_answer(422, f"Invalid value: {secret}: must be"), "x"))
    assert "<redacted>" in text
    assert "MHcCAQEE" not in text
    assert "eyJ" not in text
    assert "must be" in text


@pytest.mark.parametrize(
    "piece",
    ["eyJ", "eyJa.", "-----BEGIN ", "-----BEGIN A-----", "-----END ", "Bearer ", "a.", "a-", "exceeded: "],
)
def test_time_grows_with_the_length_of_a_tenants_text_only(piece: str) -> None:
    """An object inside may have a text of 1.5 MB, and nothing else runs while one is searched."""
    begun = time.monotonic()
    for _each in range(20):  # as many findings as are told of one kind
        errors.one_line(piece * (1_500_000 // len(piece)))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.eyJhbGciOiJS.eyJpc3Mi.sig-1_2 b", "a.<redacted> b"),
        ("x=eyJhbGciOiJS.eyJpc3Mi", "x=<redacted>"),
        ("eyJhbGciOiJS", "eyJhbGciOiJS"),
        ("eyJ.eyJhbGciOiJS.abc", "eyJ.<redacted>"),
        ("eyJhbGciOiJS. Next", "eyJhbGciOiJS. Next"),
    ],
)
def test_tokens_among_words(text: str, shown: str) -> None:
    assert errors.one_line(text) == shown


def test_long_messages_are_cut() -> None:
    assert len(errors.one_line("x" * 5000)) <= errors.LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (urllib3.exceptions.NewConnectionError(None, "refused"), "cannot connect"),
        (urllib3.exceptions.ConnectTimeoutError(None, "slow"), "cannot connect"),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "slow"), "no answer in time"),
        (urllib3.exceptions.SSLError(ssl.SSLError("bad cert")), "Check the CA"),
        (urllib3.exceptions.ProtocolError("reset"), "the connection broke"),
        (json.JSONDecodeError("Expecting value", "", 0), "not JSON"),
    ],
)
def test_no_answer(cause: Exception, says: str) -> None:
    for error in (cause, urllib3.exceptions.MaxRetryError(None, "/", cause)):
        text = str(errors.api_error(error, "reading v1/Node on edge"))
        assert text.startswith("reading v1/Node on edge: ")
        assert says in text
        assert "\n" not in text


def test_a_line_of_ours_stays_as_it_is() -> None:
    error = errors.TenantryError("cpu: too little")
    assert errors.api_error(error, "x") is error


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("member edge: HTTPSConnectionPool(host='10.1.2.3', port=6443): timed out", "10.1.2.3 6443"),
        ("connecting to https://api.edge.example.com:6443/api: refused", "example.com"),
        ("no route to 192.0.2.7:6443. Run again", "192.0.2.7"),
        ("dial tcp [2001:db8::7]:6443: i/o timeout", "2001:db8"),
        ("from 2001:db8:0:1::7 no answer", "2001:db8"),
        ("lookup api.edge.example.com:443: no such host", "api.edge"),
    ],
)
def test_who_may_not_know_where_hosts_are_reads_no_address(text, shown) -> None:
    found = errors.without_addresses(text)
    assert "<address>" in found
    assert not any(one in found for one in shown.split())


@pytest.mark.parametrize(
    "text",
    [
        "payments--dev: quota vcluster: 12:00:07Z, 2026-04-01T12:00:00Z, v1.34.4+k3s1, 1.5Gi. Run again",
        "pods web-0.db:main is not ready: image docker.io/lab/web:1 cannot be pulled",
    ],
)
def test_what_is_no_address_stays(text) -> None:
    assert errors.without_addresses(text) == text


def test_the_address_that_a_tenant_has_stays() -> None:
    text = "https://dev.example.com:6443 refuses connections of 10.0.0.7"
    assert errors.without_addresses(text, "https://dev.example.com:6443") == (
        "https://dev.example.com:6443 refuses connections of <address>"
    )


@pytest.mark.parametrize("value", ["web", "", 0, []])
def test_require_value_returns_it(value: object) -> None:
    assert errors.require(value, "the value") is value


def test_require_none_names_what_is_missing() -> None:
    with pytest.raises(TypeError, match="the plan of payments--dev is missing"):
        errors.require(None, "the plan of payments--dev")


@pytest.mark.parametrize(
    ("said", "kind", "resources"),
    [
        (
            'services "api" is forbidden: exceeded quota: vcluster, requested: services.nodeports=1,pods=1, used: '
            "services.nodeports=0,pods=9, limited: services.nodeports=0,pods=9",
            errors.QuotaExceeded,
            {"services.nodeports", "pods"},
        ),
        ("exceeded quota: vcluster", errors.QuotaExceeded, set()),
        ('failed calling webhook "a.example.com": timeout', errors.WebhookError, None),
        ('pods "a" is forbidden', errors.ApiError, None),
    ],
)
def test_a_refusal_has_the_kind_of_its_cause(said: str, kind: type, resources: set[str] | None) -> None:
    error = errors.api_error(_answer(403, said), "applying")
    assert error.__class__ is kind
    assert getattr(error, "resources", None) == resources
    assert error.said == said


def _wrapped_by(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("cause", "untrusted"),
    [
        (ssl.SSLCertVerificationError("self-signed"), True),
        (urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")), True),
        (_wrapped_by(urllib3.exceptions.NewConnectionError(None, "x"), ssl.SSLCertVerificationError("y")), True),
        (urllib3.exceptions.SSLError(ssl.SSLError("handshake")), False),
        (OSError("CERTIFICATE_VERIFY_FAILED"), False),
    ],
)
def test_a_certificate_is_known_to_be_untrusted(cause: Exception, untrusted: bool) -> None:
    for error in (cause, urllib3.exceptions.MaxRetryError(None, "/", cause)):
        assert errors.is_untrusted_certificate(error) is untrusted
