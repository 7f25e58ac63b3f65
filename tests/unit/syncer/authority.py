"""A certificate authority for the tests."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def _usage(*, ca: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    none = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=ca, **none)


class Authority:
    """Signs certificates and keeps files in a directory. Without `strict`, as before RFC 5280: no key usage and IDs."""

    def __init__(self, directory: Path, name: str = "ca", *, strict: bool = True) -> None:
        self.directory = directory
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._strict = strict
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self.name, self._key.public_key(), timedelta(days=1), ca=True)
        self._certificate = builder.add_extension(constraints, True).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(PEM).decode()

    def _builder(self, subject, public_key, lifetime, *, ca=False) -> x509.CertificateBuilder:
        now = datetime.now(UTC).replace(microsecond=0)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + lifetime)
        if not self._strict:
            return builder
        builder = builder.add_extension(_usage(ca=ca), True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(signer, False)

    def sign(self, subject, public_key, usage, names=None, lifetime=timedelta(hours=1)) -> str:
        """Return a certificate as PEM."""
        builder = self._builder(subject, public_key, lifetime)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if names:
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM).decode()

    def issue(self, common_name: str, usage=CLIENT) -> Path:
        """Return a file with a new key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]) if usage == SERVER else None
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        file = self.directory / f"{x509.random_serial_number():x}.pem"
        file.write_text(private + self.sign(subject, key.public_key(), usage, names))
        return file

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of a server at 127.0.0.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue("server", SERVER))
        return context

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts this CA, with a client certificate if one is given."""
        context = ssl.create_default_context(cadata=self.pem)
        if certificate:
            context.load_cert_chain(certificate)
        return context
