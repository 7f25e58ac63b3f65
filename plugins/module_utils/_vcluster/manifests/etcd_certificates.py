# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CA and certificates of a virtual cluster's etcd, created once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPrivateKeyTypes,
        CertificatePublicKeyTypes,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    x509 = None  # type: ignore[assignment]  # reported by make_authority()

# Nothing but the members and the servers ever sees them, so they last as long as the virtual cluster may.
LIFETIME = timedelta(days=3650)
SKEW = timedelta(hours=1)

SERVER, CLIENT = "server", "client"
FILES = ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")


def make(namespace: str, service: str) -> dict[str, str]:
    """Return PEM by file name. The CA's key is discarded, so it can never sign again.

    The client's certificate has no DNS names: etcd would compare their addresses with the client's.
    """
    key, authority = make_authority(f"{namespace} etcd", "etcd")
    issuer = _key_identifier(key.public_key())
    names = [f"*.{service}.{namespace}.svc", "localhost"]
    found = {"ca.crt": authority.public_bytes(serialization.Encoding.PEM).decode()}
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    for name, alternative, usages in ((SERVER, names, both), (CLIENT, [], [ExtendedKeyUsageOID.CLIENT_AUTH])):
        own = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(f"{namespace} etcd {name}"), _name(f"{namespace} etcd"), own.public_key(), issuer)
        if alternative:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(one) for one in alternative]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        signed = builder.sign(key, hashes.SHA256())
        found[f"{name}.crt"] = signed.public_bytes(serialization.Encoding.PEM).decode()
        found[f"{name}.key"] = key_pem(own)
    return found


def make_authority(
    name: str, option: str, *, path_length: int | None = 0
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return a key and its self-signed CA certificate. Errors begin with `option`.

    Without a path length (None), the CA may sign further CAs.
    """
    if x509 is None:
        raise TenantryError(
            f"{option}: needs the Python library cryptography where this module runs. Install it with pip"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    builder = _builder(_name(name), _name(name), public, _key_identifier(public))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return key, builder.add_extension(_usage(signs=True), critical=True).sign(key, hashes.SHA256())


def cross_signed(authority: x509.Certificate, by: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> str:
    """Return the certificate of a CA, signed by another one, as PEM: clients that trust that one trust this too."""
    try:
        # As the other calls its own key: who makes a certificate chooses that.
        own = by.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    except x509.ExtensionNotFound:
        issuer = None
    builder = _builder(authority.subject, by.subject, authority.public_key(), issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.add_extension(_usage(signs=True), critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the key as unencrypted PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    authority: x509.AuthorityKeyIdentifier | None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    return builder.add_extension(authority, critical=False) if authority else builder


def _key_identifier(authority: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority)


def _name(common_name: str) -> x509.Name:
    """Return the common name, at most 64 characters. Namespaces are shorter, and differ at the end."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[-64:])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
