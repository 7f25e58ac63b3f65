"""The CAs of k3s, by which three servers are replaced one after the other."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import k3s_cas
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
PEM = serialization.Encoding.PEM


def by_k3s(*, key_identifier: bool = True) -> dict[str, str]:
    """CAs as Go makes them: it chooses an identifier for their keys, which is not the one that others would compute."""
    files = {}
    for name in k3s_cas.NAMES:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"k3s-{name}@1700000000")])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if key_identifier:
            builder = builder.add_extension(x509.SubjectKeyIdentifier(os.urandom(20)), critical=False)
        files[f"{name}.crt"] = builder.sign(key, hashes.SHA256()).public_bytes(PEM).decode()
        legacy, unprotected = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        files[f"{name}.key"] = key.private_bytes(PEM, legacy, unprotected).decode()
    return files


def is_accepted(certificates: str, key: str, trusted: str, directory: Path) -> bool:
    """Whether OpenSSL, as in Python clients, accepts a server that signs with the first of these certificates."""
    authority = x509.load_pem_x509_certificate(certificates.encode())
    signing, own = serialization.load_pem_private_key(key.encode(), None), ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject).serial_number(2)
    builder = builder.public_key(own.public_key()).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=365))
    names = x509.SubjectAlternativeName([x509.DNSName("server")])
    leaf = builder.add_extension(names, critical=True).sign(signing, hashes.SHA256()).public_bytes(PEM).decode()
    pkcs8, unprotected = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = directory / "server.pem"
    file.write_text(leaf + certificates + own.private_bytes(PEM, pkcs8, unprotected).decode())
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(file)
    client.load_verify_locations(cadata=trusted)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(one, other, server_hostname="server"), server.wrap_bio(other, one, server_side=True))
    try:
        for _turn in range(3):
            for side in sides:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError:
        return False
    return sides[0].version() is not None


@pytest.mark.parametrize("old", [by_k3s(), by_k3s(key_identifier=False), k3s_cas.make(NOW - timedelta(days=1))])
def test_between_stages_old_and_new_accept_each_other(old: dict[str, str], tmp_path: Path) -> None:
    new = k3s_cas.make(NOW)
    between = {**new, **k3s_cas.crossed(new, old)}
    file, key = f"{k3s_cas.SERVER}.crt", f"{k3s_cas.SERVER}.key"

    def accepted(signing: dict[str, str], trusted: dict[str, str]) -> bool:
        return is_accepted(signing[file], signing[key], trusted[file], tmp_path)

    assert accepted(old, old)
    assert [accepted(between, trusted) for trusted in (old, between, new)] == [True, True, True]
    assert [accepted(signing, between) for signing in (old, new)] == [True, True]
    assert [accepted(old, new), accepted(new, old)] == [False, False]


def test_crossed_keeps_no_key_and_signs_with_the_new_one() -> None:
    new, old = k3s_cas.make(NOW), by_k3s()
    between = k3s_cas.crossed(new, old)
    assert set(between) == {f"{name}.crt" for name in k3s_cas.NAMES}
    for name in k3s_cas.NAMES:
        first = x509.load_pem_x509_certificate(between[f"{name}.crt"].encode())
        authority = x509.load_pem_x509_certificate(new[f"{name}.crt"].encode())
        assert first.public_key() == authority.public_key()
        assert (first.subject, first.issuer == authority.issuer) == (authority.subject, False)


def test_cas_have_the_names_and_the_form_of_keys_of_k3s() -> None:
    files = k3s_cas.make(NOW)
    assert set(files) == {f"{name}.{kind}" for name in k3s_cas.NAMES for kind in ("crt", "key")}
    assert files["server-ca.key"].startswith("-----BEGIN EC PRIVATE KEY-----")
    authority = x509.load_pem_x509_certificate(files["client-ca.crt"].encode())
    assert authority.subject.rfc4514_string() == f"CN=k3s-client-ca@{int(NOW.timestamp())}"


def test_made_at_reads_the_first_certificate() -> None:
    theirs, ours = by_k3s()["server-ca.crt"], k3s_cas.make(NOW)["server-ca.crt"]
    assert k3s_cas.made_at(k3s_cas.both(theirs, ours)) == NOW
    with pytest.raises(TenantryError, match="cannot read the CA"):
        k3s_cas.made_at("no PEM")


def test_a_key_that_cannot_be_read_is_an_error_without_its_content() -> None:
    with pytest.raises(TenantryError, match=r"cannot read the key server-ca\.key") as failed:
        k3s_cas.crossed(k3s_cas.make(NOW), {**by_k3s(), "server-ca.key": "word"})
    assert "word" not in str(failed.value)
