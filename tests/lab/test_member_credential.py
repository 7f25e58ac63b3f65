"""A member whose credential is not taken any more: each module says so in one line, and leaves nothing half done."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .harness import ModuleResult, call_module, ran, until
from .people import add_vcluster, all_writes

RESOURCES = {"cpu": "2", "memory": "2Gi", "storage": "6Gi", "pods": 5}
VERSION = "v1.37.2+k3s1"
RENEW = "with tenantry.kube.fleet_member (name: edge, member_kubeconfig: an administrator's)"


@dataclass(frozen=True)
class Pair:
    hub: Path
    member: Path

    def call(self, module: str, **options: Any) -> ModuleResult:
        return call_module(module, kubeconfig=self.hub, **options)

    def join(self) -> ModuleResult:
        return self.call("fleet_member", name="edge", member_kubeconfig=self.member)

    def entry(self) -> dict[str, Any]:
        return dict(json.loads(ran(self.hub, "get", "secret", "member-edge", "-n", "tenantry-system", "-o", "json")))

    def replace_token(self, change: Callable[[str], str], **annotations: str) -> None:
        """In the registry, as if time had passed or somebody had been there."""
        config = json.loads(base64.b64decode(self.entry()["data"]["kubeconfig"]))
        user = config["users"][0]["user"]
        user["token"] = change(user["token"])
        data = {"kubeconfig": base64.b64encode(json.dumps(config).encode()).decode()}
        patch = json.dumps({"data": data, "metadata": {"annotations": annotations}})
        ran(self.hub, "patch", "secret", "member-edge", "-n", "tenantry-system", "-p", patch)


@pytest.fixture(scope="module")
def pair(platform: Path, second_api_server: Path) -> Iterator[Pair]:
    """A hub and a member; the tenant has one virtual cluster on each."""
    pair = Pair(platform, second_api_server)
    assert not pair.join().failed
    quota = {"cpu": 8, "memory": "16Gi", "storage": "100Gi", "pods": 100, "vclusters": 5}
    assert not pair.call("tenant_quota", tenant="payments", quota=quota).failed
    add_vcluster(pair.hub, "payments", "near")
    add_vcluster(pair.member, "payments", "far")
    # Any run puts both on the tenant's record, as it does for those of an earlier release.
    assert not pair.call("vcluster", tenant="payments", name="nothing", state="absent").failed
    yield pair
    ran(pair.hub, "delete", "namespace", "payments--near")
    ran(pair.member, "delete", "namespace", "payments--far")
    assert not pair.join().failed
    assert not pair.call("tenant_quota", tenant="payments", state="absent").failed
    removed = pair.call("fleet_member", name="edge", member_kubeconfig=pair.member, state="absent")
    assert not removed.failed, removed.msg


def _revoked(pair: Pair) -> None:
    ran(pair.member, "delete", "secret", "-n", "tenantry-system", "-l", "tenantry.dev/component=member")


def _of_nobody(pair: Pair) -> None:
    pair.replace_token(lambda token: token[:-8] + "AAAAAAAA")


def _expired(pair: Pair) -> None:
    """The same token, of a year ago, with the signature of the member's own API server."""
    text = (pair.member.parent / "data/server/tls/service.key").read_bytes()
    key = serialization.load_pem_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def change(token: str) -> str:
        head, body, _signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        for claim in ("iat", "nbf", "exp"):
            claims[claim] = int(time.time()) - 3600 - (claims["exp"] - claims[claim])
        signed = f"{head}.{_base64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{_base64(signature)}"

    pair.replace_token(change, **{"tenantry.dev/expires": "2026-01-01T00:00:00Z"})


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


WAYS = {"revoked": _revoked, "of-nobody": _of_nobody, "expired": _expired}
REASONS = {"expired": "expired at 2026-01-01T00:00:00Z"}


@pytest.fixture(params=WAYS, scope="module")
def refused(request: pytest.FixtureRequest, pair: Pair) -> Iterator[str]:
    """Why the member's credential is refused; afterwards, one run of what the line says has made it good."""
    WAYS[request.param](pair)
    _await_refusal(pair)
    yield REASONS.get(request.param, "was revoked or is of another cluster")
    renewed = pair.join()
    assert (renewed.failed, renewed.changed) == (False, True), renewed.msg
    assert pair.call("vcluster_info").data["unreachable_members"] == {}


def _await_refusal(pair: Pair) -> None:
    """An API server remembers a good token for ten seconds; a run in which that ends fails."""
    until(lambda: pair.call("vcluster_info").data.get("unreachable_members"))


# What has to do with the member, and cannot be done without it.
NEEDED = {
    "a new one there": ("vcluster", {"tenant": "payments", "name": "new", "host": "edge"}),
    "the one there": ("vcluster", {"tenant": "payments", "name": "far", "host": "edge"}),
    "its removal": ("vcluster", {"tenant": "payments", "name": "far", "host": "edge", "state": "absent"}),
    "the removal of the member": ("fleet_member", {"name": "edge", "state": "absent"}),
}


def test_refused_in_the_midst_of_a_run(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken at first contact, and not from then on. Before the others, to which the fixture `refused` has come."""
    from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry

    contact = registry.Fleet._contact

    def then_revoked(fleet: Any, member: Any) -> Any:
        cluster = contact(fleet, member)
        cluster._client.client.set_default_header("Authorization", "Bearer of-nobody")
        return cluster

    written = all_writes(pair.hub, pair.member)
    with monkeypatch.context() as patch:
        patch.setattr(registry.Fleet, "_contact", then_revoked)
        options = {"tenant": "payments", "name": "new", "host": "edge", "version": VERSION, "resources": RESOURCES}
        run = pair.call("vcluster", **options)
    assert run.failed
    _is_one_line(run, run.msg, "was revoked or is of another cluster")
    assert all_writes(pair.hub, pair.member) == written


@pytest.mark.parametrize("what", NEEDED)
def test_what_needs_the_member_is_refused_and_changes_nothing(pair: Pair, refused: str, what: str) -> None:
    module, options = NEEDED[what]
    if module == "vcluster" and options.get("state") != "absent":
        options = {**options, "version": VERSION, "resources": RESOURCES}
    written = all_writes(pair.hub, pair.member)
    run = pair.call(module, **options)
    assert run.failed, what
    _is_one_line(run, run.msg, refused)
    assert all_writes(pair.hub, pair.member) == written


@pytest.mark.parametrize("module", ["vcluster_info", "tenant_usage_info", "tenant_user_info", "audit_info"])
def test_what_can_be_known_without_it_is_reported(pair: Pair, refused: str, module: str) -> None:
    run = pair.call(module)
    assert not run.failed, run.msg
    assert list(run.data["unreachable_members"]) == ["edge"]
    _is_one_line(run, run.data["unreachable_members"]["edge"], refused)


def test_a_user_gets_what_the_hub_has_and_the_rest_is_reported(pair: Pair, refused: str) -> None:
    run = pair.call("tenant_user", tenant="payments", name="bob", role="viewer")
    assert run.failed
    (row,) = run.data["results"]
    assert row["changed"]
    assert ran(pair.hub, "get", "serviceaccount", "bob", "-n", "tenant-payments", "-o", "name")
    assert refused in run.msg
    assert RENEW in run.msg
    removed = pair.call("tenant_user", tenant="payments", name="bob", state="absent")
    assert removed.failed
    assert RENEW in removed.msg


def _is_one_line(run: ModuleResult, line: str, reason: str) -> None:
    assert "\n" not in line
    assert "edge" in line
    assert "401" in line
    assert f"the platform's credential for member edge {reason}" in line
    assert RENEW in line
    assert "Traceback" not in run.text
