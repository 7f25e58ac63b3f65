"""When a token stays, when it is replaced, and what revokes it."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import rfc3339
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens

NOW = 1_800_000_000
DAY = 86_400
SECRET = {"metadata": {"uid": "s1", "name": "bob-1", "namespace": "tenantry-system"}}


def _token(*, issued: int, expires: int, secret: str = "s1") -> str:
    payload = {
        "iat": issued,
        "exp": expires,
        "kubernetes.io": {"secret": {"uid": secret}, "serviceaccount": {"uid": "a1"}},
    }
    return "x." + base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=") + ".y"


def test_the_claims_of_a_token() -> None:
    found = bound_tokens.claims(_token(issued=NOW, expires=NOW + DAY))
    assert (found.issued, found.expires, found.secret_uid, found.account_uid) == (NOW, NOW + DAY, "s1", "a1")
    assert found.expires_at == "2027-01-16T08:00:00Z"


@pytest.mark.parametrize(
    "token", [None, "", "x", "x.y.z", "a.e30.b", 7, f"x.{base64.urlsafe_b64encode(b'[]').decode()}.y"]
)
def test_what_is_no_token_of_ours_has_no_claims(token: object) -> None:
    assert bound_tokens.claims(token) is None


@pytest.mark.parametrize(
    ("age", "granted", "lifetime", "stays"),
    [
        (0, 30, 30, True),
        (19, 30, 30, True),
        (21, 30, 30, False),  # less than a third is left
        (31, 30, 30, False),
        (0, 1, 30, True),  # the server granted less
        (0, 30, 2, False),  # the lifetime was lowered
        (0, 30, 90, True),  # and raised: the next renewal grants it
    ],
)
def test_a_token_stays_for_two_thirds_of_its_life(age: int, granted: int, lifetime: int, stays: bool) -> None:
    issued = NOW - age * DAY
    token = _token(issued=issued, expires=issued + granted * DAY)
    assert bound_tokens.still_good(token, [SECRET], lifetime * DAY, NOW) is stays


def test_a_token_whose_secret_is_gone_does_not_stay() -> None:
    token = _token(issued=NOW, expires=NOW + DAY)
    assert bound_tokens.still_good(token, [SECRET], DAY, NOW)
    assert not bound_tokens.still_good(token, [], DAY, NOW)
    assert not bound_tokens.still_good(_token(issued=NOW, expires=NOW + DAY, secret="s2"), [SECRET], DAY, NOW)


def test_the_name_of_the_next_secret_is_foreseeable_and_new() -> None:
    first = bound_tokens.secret_name("bob", [])
    assert first == bound_tokens.secret_name("bob", [])
    assert first != bound_tokens.secret_name("bob", [SECRET])
    assert first != bound_tokens.secret_name("carol", [])


def test_a_secret_has_served_when_its_token_expired() -> None:
    def secret(expires: float) -> dict:
        return {"metadata": {"annotations": {bound_tokens.EXPIRES_ANNOTATION: rfc3339(expires)}}}

    assert bound_tokens.outlived(secret(NOW - DAY), NOW)
    assert not bound_tokens.outlived(secret(NOW + DAY), NOW)
    assert not bound_tokens.outlived({"metadata": {}}, NOW)


def test_a_credential_is_not_shown() -> None:
    assert "swordfish" not in repr(bound_tokens.Credential("swordfish", "2027-01-01T00:00:00Z", {}))
