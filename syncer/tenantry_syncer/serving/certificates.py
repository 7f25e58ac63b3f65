"""Serving certificates of the syncer's servers, from the virtual cluster's CertificateSigningRequest API.

A short-lived process (`python -m tenantry_syncer.serving.certificates`) creates key and request, because the library
for it would otherwise stay in the syncer's memory.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

LOG = logging.getLogger(__name__)
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kubelet-serving"
NAME = "tenantry-syncer"
# The signer of kubelets' certificates requires this organization, a common name with this prefix, and no other SANs.
ORGANIZATION = "system:nodes"
COMMON_NAME = f"system:node:{NAME}"
# The last is the service of api_service.py, which the API server verifies.
DNS_NAMES = (NAME, "localhost", "tenantry-metrics.kube-system.svc")
ISSUE_TIMEOUT = 30.0
POLL = 0.1
RETRY = 60.0
MIN_RENEWAL_DELAY = 1.0
_END = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """The virtual cluster did not issue a certificate."""


class Api(Protocol):
    """The part of the API client that this module uses."""

    async def get(self, path: str) -> dict[str, Any] | None:
        """Return the object, or None if it does not exist."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object and return it."""

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replace an object and return it."""

    async def delete(self, path: str) -> bool:
        """Delete an object and return whether it existed."""


@dataclass(frozen=True)
class Issued:
    """A private key with its certificate chain, and when the certificate expires."""

    pem: bytes
    expires: datetime


async def serving_context(
    api: Api, client_ca_pem: str, address: str, directory: Path
) -> tuple[ssl.SSLContext, datetime]:
    """Return a TLS context with a new certificate for this address that accepts clients of this CA, and its expiry."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client_ca_pem)
    # No resumption: the client presents its certificate on every connection.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context, await renew(api, context, address, directory)


def trusted_cas(bundle: str, excluded: str) -> str:
    """Return the CAs of a PEM bundle without that of the common name `excluded`, which the syncer must not trust."""
    found = (f"{one}{_END}\n" for one in bundle.split(_END)[:-1])
    return "".join(one for one in found if excluded not in (names := _common_names(one)) and names)


def _common_names(authority: str) -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=authority)
    subjects = [one["subject"] for one in context.get_ca_certs()]
    pairs: Iterable[Any] = (pair for subject in subjects for rdn in subject for pair in rdn)
    return [value for key, value in pairs if key == "commonName"]


async def renew(api: Api, context: ssl.SSLContext, address: str, directory: Path) -> datetime:
    """Load a new certificate into a TLS context in use, for new connections; return its expiry."""
    issued = await issue(api, address)
    _load(context, issued.pem, directory)
    return issued.expires


async def keep_renewed(api: Api, context: ssl.SSLContext, address: str, directory: Path, expires: datetime) -> None:
    """Renew at two thirds of the remaining lifetime until cancelled; retry failures."""
    while True:
        await asyncio.sleep(until_renewal(expires))
        try:
            expires = await renew(api, context, address, directory)
        except Exception as error:
            LOG.warning(
                "could not renew the serving certificate (expires %s): %s; retrying in %d s", expires, error, RETRY
            )
            await asyncio.sleep(RETRY)


def until_renewal(expires: datetime, now: datetime | None = None) -> float:
    """Return the seconds until two thirds of the remaining lifetime have passed."""
    left = expires - (now or datetime.now(UTC))
    return max(left.total_seconds() * 2 / 3, MIN_RENEWAL_DELAY)


async def issue(api: Api, address: str) -> Issued:
    """Create and approve a request for a new key, wait for the certificate, and delete the request.

    Raises CertificateError.
    """
    made = (await _child("request", address)).decode()
    key, csr = (
        made[: made.index("-----BEGIN CERTIFICATE REQUEST")],
        made[made.index("-----BEGIN CERTIFICATE REQUEST") :],
    )
    async with _requested(api, csr) as path:
        try:
            async with asyncio.timeout(ISSUE_TIMEOUT):
                certificate = await _certificate(api, path)
        except TimeoutError:
            raise CertificateError(f"{path}: no certificate within {ISSUE_TIMEOUT:.0f} s. Check the signer.") from None
    expires = (await _child("expiry", data=certificate)).decode().strip()
    return Issued(key.encode() + certificate, datetime.fromisoformat(expires))


@contextlib.asynccontextmanager
async def _requested(api: Api, csr: str) -> AsyncIterator[str]:
    """Yield the path of an approved request; delete the request afterwards."""
    spec = {
        "signerName": SIGNER,
        "request": base64.b64encode(csr.encode()).decode(),
        "usages": ["digital signature", "server auth"],
    }
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": f"{NAME}-"},
        "spec": spec,
    }
    created = await api.create(REQUESTS, body)
    path = f"{REQUESTS}/{created['metadata']['name']}"
    try:
        condition = {
            "type": "Approved",
            "status": "True",
            "reason": "Syncer",
            "message": "Serving certificate of the syncer",
        }
        created.setdefault("status", {})["conditions"] = [condition]
        await api.replace(f"{path}/approval", created)
        yield path
    finally:
        # The controller manager collects leftovers.
        with contextlib.suppress(Exception):
            await api.delete(path)


async def _certificate(api: Api, path: str) -> bytes:
    while True:
        status = (await api.get(path) or {}).get("status", {})
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        for condition in status.get("conditions", ()):
            if condition["type"] in ("Denied", "Failed"):
                text = f"{condition.get('reason', '')}: {condition.get('message', '')}"
                raise CertificateError(f"{path}: {condition['type']}: {text}")
        await asyncio.sleep(POLL)


def _load(context: ssl.SSLContext, pem: bytes, directory: Path) -> None:
    """Load key and certificate through a private temporary file, because ssl reads keys only from files."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="certificate-") as private:
        file = Path(private) / "certificate.pem"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        context.load_cert_chain(file)


async def _child(task: str, *words: str, data: bytes = b"") -> bytes:
    """Run this module in a child process and return its output. Raises CertificateError."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = (sys.executable, "-m", "tenantry_syncer.serving.certificates", task, *words)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    output, errors = await child.communicate(data)
    if child.returncode:
        reason = (errors.decode(errors="replace").strip().splitlines() or [""])[-1]
        raise CertificateError(f"{task} of a certificate: exit status {child.returncode}: {reason}")
    return output


def make_request(address: str) -> bytes:
    """Return a new P-256 key and a certificate signing request for it, both as PEM."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, ORGANIZATION),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, COMMON_NAME),
    ]
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ip_address(address)), *(x509.DNSName(name) for name in DNS_NAMES)]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).add_extension(names, False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(pem)


def expiry(certificate: bytes) -> str:
    """Return when a certificate expires, in ISO 8601."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.isoformat()


def main(arguments: Sequence[str]) -> int:
    """`request ADDRESS` prints a key and a signing request; `expiry` reads a certificate and prints when it expires."""
    match list(arguments):
        case ["request", address]:
            sys.stdout.buffer.write(make_request(address))
        case ["expiry"]:
            print(expiry(sys.stdin.buffer.read()))
        case _:
            print(f"arguments {list(arguments)}: must be 'request ADDRESS' or 'expiry'", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
