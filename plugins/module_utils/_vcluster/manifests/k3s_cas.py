# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CAs of k3s itself, as files of its directory `server/tls`. Pure.

Of three servers, some have restarted with the new CAs while others have not. So there is a stage between: the new CA
signs, and its file has the new CA as signed by the old one, by itself, and the old CA. A client that trusts only the
old one accepts what is signed then, and the other way round. k3s's own script rotate-default-ca-certs.sh does the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd_certificates import (
    cross_signed,
    make_authority,
)

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:
    x509 = None  # type: ignore[assignment]  # reported by make_authority()

SERVER, CLIENT, REQUEST_HEADER = "server-ca", "client-ca", "request-header-ca"
NAMES = (SERVER, CLIENT, REQUEST_HEADER)
_SUPPORTED = "Only unencrypted PEM of k3s's own CAs can be replaced. Restore it in server/tls, then run again"


def make(now: datetime) -> dict[str, str]:
    """PEM by name of the file, certificates and keys. Named as k3s does it, so that no two have the same name."""
    files = {}
    for name in NAMES:
        key, authority = make_authority(f"k3s-{name}@{int(now.timestamp())}", "state", path_length=None)
        files[f"{name}.crt"] = authority.public_bytes(serialization.Encoding.PEM).decode()
        files[f"{name}.key"] = key.private_bytes(
            # The form of k3s's own keys.
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()
    return files


def crossed(new: Mapping[str, str], old: Mapping[str, str]) -> dict[str, str]:
    """
    The certificates of the stage between, for the same keys. The one that signs is the first, and one that the old CA
    vouches for.
    """
    files = {}
    for name in NAMES:
        certificate, key = f"{name}.crt", f"{name}.key"
        authority, signer = _loaded(new[certificate]), _loaded(old[certificate])
        try:
            signing = serialization.load_pem_private_key(old[key].encode(), None)
        except (ValueError, TypeError) as error:
            raise TenantryError(f"state: cannot read the key {key} of its server: {error}. {_SUPPORTED}") from None
        between = cross_signed(authority, signer, signing)  # type: ignore[arg-type]  # no other kind can be a CA's
        files[certificate] = "".join(map(_whole_lines, (between, new[certificate], old[certificate])))
    return files


def made_at(pem: str) -> datetime:
    """When the first CA of a file was made."""
    return _loaded(pem).not_valid_before_utc


def fingerprint(files: Mapping[str, str]) -> str:
    """Of certificates, by which the pods of a stage are told from those before."""
    certificates = "".join(files[name] for name in sorted(files) if name.endswith(".crt"))
    return hashlib.sha256(certificates.encode()).hexdigest()[:16]


def both(new: str, old: str) -> str:
    """Two bundles as one."""
    return _whole_lines(new) + _whole_lines(old)


def _whole_lines(pem: str) -> str:
    return pem.rstrip("\n") + "\n"


def _loaded(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise TenantryError(f"state: cannot read the CA of its server: {error}. {_SUPPORTED}") from None
