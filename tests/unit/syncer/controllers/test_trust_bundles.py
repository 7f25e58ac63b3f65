"""The certificates that a clusterTrustBundle source means, by API servers with either version of the kind or none."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tenantry_syncer import naming
from tenantry_syncer.controllers import trust_bundles
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.service_account_tokens import Tokens
from tenantry_syncer.kube.resources import POD, SECRET, TRUST_BUNDLES
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod_volumes import token_secret

from ..object_store import ObjectStore, with_store
from ..objects import CONFIG, pod

V1, BETA = TRUST_BUNDLES
SIGNER = "example.com/any"


def certificate(name: str) -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


ONE, TWO, THREE = (certificate(name) for name in ("one", "two", "three"))


def put(store: ObjectStore, kind, name: str, bundle: str, labels: dict | None = None) -> None:
    obj = {"metadata": {"name": name, "labels": labels or {}}, "spec": {"signerName": SIGNER, "trustBundle": bundle}}
    store.objects[kind.path(None, name)] = obj
    listed = store.objects.setdefault(kind.path(), {"metadata": {"resourceVersion": "1"}, "items": []})
    listed["items"].append({"metadata": obj["metadata"]})


def found(store_up, source: dict) -> str | None:
    result = []

    async def scenario(store, api):
        store_up(store)
        result.append(await trust_bundles.certificates(api, source))

    with_store(scenario)
    return result[0]


def two_bundles(kind=V1):
    def store_up(store: ObjectStore) -> None:
        put(store, kind, "first", f"# a comment\n{ONE}{TWO}{ONE}", {"tier": "prod"})
        put(store, kind, "second", f"{TWO}\n\n{THREE}", {"tier": "dev"})

    return store_up


def by_signer(selector: dict | None) -> dict:
    return {"signerName": SIGNER, "path": "ca.pem", **({} if selector is None else {"labelSelector": selector})}


@pytest.mark.parametrize("kind", TRUST_BUNDLES, ids=lambda kind: kind.api_version)
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"name": "first"}, [ONE, TWO]),
        ({"name": "missing"}, None),
        (by_signer({}), [ONE, TWO, THREE]),
        (by_signer({"matchLabels": {"tier": "dev"}}), [TWO, THREE]),
        (by_signer({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["dev"]}]}), [ONE, TWO]),
        (by_signer({"matchLabels": {"tier": "none"}}), None),
        (by_signer(None), None),
    ],
)
def test_certificates_each_once_without_comments(kind, source: dict, expected: list[str] | None):
    text = found(two_bundles(kind), source)
    assert text == ("".join(sorted(expected)) if expected else None)


def test_certificates_kind_not_served_is_none():
    assert found(lambda _store: None, {"name": "first"}) is None
    assert found(lambda _store: None, by_signer({})) is None


def test_certificates_are_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trust_bundles, "MAX_BYTES", len(ONE) + len(TWO))
    assert found(two_bundles(), {"name": "first"})
    with pytest.raises(trust_bundles.TooManyCertificates):
        found(two_bundles(), by_signer({}))
    monkeypatch.setattr(trust_bundles, "MAX_BUNDLES", 1)
    with pytest.raises(trust_bundles.TooManyCertificates):
        found(two_bundles(), by_signer({}))


def mounting(**source: object) -> dict:
    return pod(
        {"volumes": [{"name": "t", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.pem", **source}}]}}]}
    )


def secret_of(store: ObjectStore) -> dict:
    name = token_secret(naming.host_name("shop", "web-0"))
    return store.objects[SECRET.path(CONFIG.namespace, name)]


def text_of(store: ObjectStore) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret_of(store).get("data", {}).items()}


def test_secret_has_bundle_and_follows_it():
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        put(store, V1, "ca", ONE)
        context.virtual.cache(POD).put(mounting(name="ca"))
        tokens = Tokens(context, Events(context))
        assert await tokens.reconcile("shop", "web-0") == 60
        assert text_of(store) == {"t.0": ONE}
        writes = len(store.writes)
        assert await tokens.reconcile("shop", "web-0") == 60
        assert len(store.writes) == writes, "nothing changed"
        store.objects[V1.path(None, "ca")]["spec"]["trustBundle"] = TWO
        await tokens.reconcile("shop", "web-0")
        assert text_of(store) == {"t.0": TWO}
        del store.objects[V1.path(None, "ca")]
        await tokens.reconcile("shop", "web-0")
        assert text_of(store) == {"t.0": TWO}, "as the kubelet, the last one stays"

    with_store(scenario)


@pytest.mark.parametrize(("optional", "data"), [(True, {"t.0": ""}), (False, {})])
def test_missing_bundle_keeps_pod_waiting_unless_optional(optional: bool, data: dict):
    async def scenario(store, api):
        context = SyncContext(CONFIG, api, api)
        virtual = mounting(name="ca", optional=optional)
        context.virtual.cache(POD).put(virtual)
        told = []
        events = Events(context)

        async def reject(_kind, _obj, reason: str, message: str) -> None:
            told.append((reason, message))

        events.reject = reject
        assert await Tokens(context, events).reconcile("shop", "web-0") == (60 if optional else 10)
        assert text_of(store) == data
        assert [reason for reason, _message in told] == ([] if optional else ["MissingTrustBundle"])
        assert optional or "There is no trust bundle ca." in told[0][1]

    with_store(scenario)


def test_bundles_too_large_are_read_again_after_a_minute(monkeypatch: pytest.MonkeyPatch):
    async def scenario(store, api):
        monkeypatch.setattr(trust_bundles, "MAX_BYTES", 1)
        context = SyncContext(CONFIG, api, api)
        put(store, V1, "ca", ONE)
        context.virtual.cache(POD).put(mounting(name="ca"))
        assert await Tokens(context, Events(context)).reconcile("shop", "web-0") == 60
        assert [one["reason"] for path, one in store.objects.items() if "/events/" in path] == ["TooLarge"]

    with_store(scenario)
