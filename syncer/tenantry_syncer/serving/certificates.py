"""The doors' serving certificates, from the virtual cluster's CertificateSigningRequest API.

Key and request are made by `python -m tenantry_syncer.serving.certificates` in a process of its own, which ends at
once: the library for it would stay in the syncer's memory for good.
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
# What the signer demands of a kubelet's certificate: this organization, a name with this prefix, no other SANs.
ORGANIZATION = "system:nodes"
COMMON_NAME = f"system:node:{NAME}"
# The last is the service of api_service.py: what the API server expects at the other end.
DNS_NAMES = (NAME, "localhost", "tenantry-metrics.kube-system.svc")
ISSUE_TIMEOUT = 30.0
POLL = 0.1
RETRY = 60.0
MIN_RENEWAL_DELAY = 1.0
_END = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """The virtual cluster did not issue a certificate."""


class Api(Protocol):
    """The part of the syncer's API client that is used here."""

    async def get(self, path: str) -> dict[str, Any] | None:
        """The object, None if there is none."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST."""

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT."""

    async def delete(self, path: str) -> bool:
        """DELETE."""


@dataclass(frozen=True)
class Issued:
    """A private key with its certificate chain, and when the certificate ends."""

    pem: bytes
    expires: datetime


async def serving_context(
    api: Api, client_ca_pem: str, address: str, directory: Path
) -> tuple[ssl.SSLContext, datetime]:
    """A TLS context for a server at this address: a fresh certificate, clients only with a certificate of this CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client_ca_pem)
    # No resumption: every connection shows its certificate.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context, await renew(api, context, address, directory)


def trusted_cas(bundle: str, but: str) -> str:
    """The CAs of a bundle that go by another common name: API servers trust more of them than this program may."""
    found = (f"{one}{_END}\n" for one in bundle.split(_END)[:-1])
    return "".join(one for one in found if but not in (names := _common_names(one)) and names)


def _common_names(authority: str) -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=authority)
    subjects = [one["subject"] for one in context.get_ca_certs()]
    pairs: Iterable[Any] = (pair for subject in subjects for rdn in subject for pair in rdn)
    return [value for key, value in pairs if key == "commonName"]


async def renew(api: Api, context: ssl.SSLContext, address: str, directory: Path) -> datetime:
    """Load a new certificate into a context that is in use; new connections get it. Returns when it ends."""
    issued = await issue(api, address)
    _load(context, issued.pem, directory)
    return issued.expires


async def keep_renewed(api: Api, context: ssl.SSLContext, address: str, directory: Path, expires: datetime) -> None:
    """Renew at two thirds of the remaining lifetime, for ever; what fails is tried again."""
    while True:
        await asyncio.sleep(until_renewal(expires))
        try:
            expires = await renew(api, context, address, directory)
        except Exception as error:
            LOG.warning("the door's certificate (ends %s) was not renewed: %s; next try in a minute", expires, error)
            await asyncio.sleep(RETRY)


def until_renewal(expires: datetime, now: datetime | None = None) -> float:
    """Seconds until two thirds of the time that is left have passed."""
    left = expires - (now or datetime.now(UTC))
    return max(left.total_seconds() * 2 / 3, MIN_RENEWAL_DELAY)


async def issue(api: Api, address: str) -> Issued:
    """Have a new key signed: create the request, approve it, wait for the certificate, delete the request."""
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
            raise CertificateError(f"{path}: no certificate within {ISSUE_TIMEOUT:.0f} s: is the signer on?") from None
    expires = (await _child("expiry", data=certificate)).decode().strip()
    return Issued(key.encode() + certificate, datetime.fromisoformat(expires))


@contextlib.asynccontextmanager
async def _requested(api: Api, csr: str) -> AsyncIterator[str]:
    """An approved request while the context lasts."""
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
        condition = {"type": "Approved", "status": "True", "reason": "Syncer", "message": "a door of the syncer"}
        created.setdefault("status", {})["conditions"] = [condition]
        await api.replace(f"{path}/approval", created)
        yield path
    finally:
        # The controller manager collects what is left here.
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
    """ssl reads keys from files only: one that nobody else can read and that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="door-") as private:
        file = Path(private) / "door.pem"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        context.load_cert_chain(file)


async def _child(task: str, *words: str, data: bytes = b"") -> bytes:
    """Run this module for a task."""
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
    """A new P-256 key and a certificate signing request for it, both as PEM."""
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
    """When a certificate ends, in ISO 8601."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.isoformat()


def main(arguments: Sequence[str]) -> int:
    """`request ADDRESS` prints a key and a signing request; `expiry` reads a certificate and prints when it ends."""
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
