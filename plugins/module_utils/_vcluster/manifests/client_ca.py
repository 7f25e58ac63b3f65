# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CA for client certificates that are requested through a virtual API server. Pure.

k3s's own client CA signs certificates of its components and nodes, and cannot be replaced without them. This CA signs
only requested certificates, so replacing it revokes exactly those.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd_certificates import (
    key_pem,
    make_authority,
)

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    # Errors that a malicious certificate can cause.
    UNREADABLE: tuple[type[Exception], ...] = (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm)
except ImportError:
    x509 = None  # type: ignore[assignment]  # reported by make_authority()
    UNREADABLE = (ValueError,)

DIRECTORY = "/etc/tenantry/client-ca"
CERTIFICATE, KEY = f"{DIRECTORY}/ca.crt", f"{DIRECTORY}/ca.key"
# A file beside them with the reason why the API servers do not trust this CA, or empty.
UNTRUSTED = "untrusted"
BY_OPTION, IN_RENEWAL = "client_certificates", "renewal"
# On the servers' pods, so that they are replaced when the CA is.
ANNOTATION = "tenantry.dev/client-ca"
# Kubelets get theirs from k3s itself. An administrator inside can approve one of the second signer as well, and bind
# any role to its name.
SIGNERS = {
    "kubernetes.io/kube-apiserver-client": "kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet": "kubelet-client",
}
ARGUMENTS = tuple(
    f"cluster-signing-{signer}-{what}-file={path}"
    for signer in SIGNERS.values()
    for what, path in (("cert", CERTIFICATE), ("key", KEY))
)


def make(namespace: str) -> dict[str, str]:
    """Return the PEM files of a new CA by name."""
    key, authority = make_authority(f"{namespace} client", "vcluster")
    return {"ca.crt": authority.public_bytes(serialization.Encoding.PEM).decode(), "ca.key": key_pem(key)}


def is_off(files: Mapping[str, str]) -> bool:
    """Return whether the option client_certificates leaves this CA untrusted."""
    return files.get(UNTRUSTED) == BY_OPTION


def kept_or_new(files: Mapping[str, str], namespace: str, *, accepted: bool) -> dict[str, str]:
    """Return the files that the option client_certificates requires, existing ones if possible.

    Turning it on creates a new CA, so certificates signed before stay invalid. An interrupted renewal stays one.
    """
    if not files or (accepted and is_off(files)):
        files = make(namespace)
    return {UNTRUSTED: "", **files} if accepted else {**files, UNTRUSTED: BY_OPTION}


def fingerprint(files: Mapping[str, str]) -> str:
    """Return a short hash of the CA's certificate."""
    return hashlib.sha256(files.get("ca.crt", "").encode()).hexdigest()[:16]


def is_of(certificate: str, authority: str | None) -> bool | None:
    """Return whether a certificate, base64 of PEM, was signed by this CA.

    False: by a replaced one. None: by another CA, or not known.
    """
    if x509 is None or not authority:
        return None
    try:
        signed, ca = x509.load_pem_x509_certificate(base64.b64decode(certificate)), _loaded(authority)
        return _was_signed(signed, ca) if signed.issuer == ca.subject else None
    except UNREADABLE:
        return None


def _was_signed(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _loaded(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())
