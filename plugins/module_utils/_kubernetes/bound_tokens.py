# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tokens that can be revoked one by one.

A TokenRequest token is valid as long as its ServiceAccount *and* the Secret it is bound to exist with the UIDs in the
token. Each kubeconfig has its own empty Secret, whose deletion revokes that kubeconfig only.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, rfc3339, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline

# What is known of a credential, on the Secret that its token is bound to. The token itself is nowhere but in the
# kubeconfig; audit logs of its API server name it by the id.
EXPIRES_ANNOTATION = "tenantry.dev/expires"
ISSUED_ANNOTATION = "tenantry.dev/issued"
ID_ANNOTATION = "tenantry.dev/credential-id"
REQUESTER_ANNOTATION = "tenantry.dev/requested-by"
TYPE = "tenantry.dev/credential"
PROOF_DELAY = 10  # seconds after which every API server has seen the Secret of a new token
# Clocks of controller and API server differ a little; a token just granted must not look too long-lived.
CLOCK_SKEW = 60


@dataclass(frozen=True)
class Credential:
    """A token with its expiry (RFC 3339) and the Secret it is bound to."""

    token: str
    expires: str
    secret: dict

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires!r})"


@dataclass(frozen=True)
class Claims:
    """The claims of a bound token, not verified. Times are in seconds since the epoch."""

    issued: int
    expires: int
    secret_uid: str
    account_uid: str
    id: str = ""

    @property
    def expires_at(self) -> str:
        return rfc3339(self.expires)


def claims(token: str | None) -> Claims | None:
    """Return the claims of a token, or None if it is not a bound token."""
    try:
        payload = (token or "").split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        bound = decoded["kubernetes.io"]
        return Claims(
            issued=int(decoded["iat"]),
            expires=int(decoded["exp"]),
            secret_uid=bound["secret"]["uid"],
            account_uid=bound["serviceaccount"]["uid"],
            id=f"JTI={decoded['jti']}" if "jti" in decoded else "",
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def still_good(token: str | None, secrets: Iterable[dict], lifetime: int, now: float) -> bool:
    """Return whether an existing token can be kept: its Secret exists and a third of its lifetime is left.

    The third is of the granted lifetime, which may be shorter than requested. A token that outlives the requested
    `lifetime` (seconds) is not kept either. `now` is in seconds since the epoch.
    """
    found = claims(token)
    if found is None or found.secret_uid not in {secret["metadata"]["uid"] for secret in secrets}:
        return False
    left = found.expires - now
    granted = min(lifetime, found.expires - found.issued)
    return granted / 3 <= left <= lifetime + CLOCK_SKEW


def secret_name(prefix: str, previous: Iterable[dict]) -> str:
    """Return the name of the next Secret, predictable for check mode from those it supersedes."""
    seed = " ".join([prefix, *sorted(secret["metadata"]["uid"] for secret in previous)])
    return f"{prefix}-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"


def issue(
    cluster: Cluster,
    namespace: str,
    service_account: str,
    secret_name: str,
    labels: dict[str, str],
    seconds: int,
    annotations: dict[str, str] | None = None,
) -> Credential:
    """Create the Secret, then request a token bound to it. Two concurrent runs share the Secret; both tokens work."""
    known = {
        **(annotations or {}),
        EXPIRES_ANNOTATION: stamp(clock() + timedelta(seconds=seconds)),
    }
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name, "namespace": namespace, "labels": labels, "annotations": known},
        "type": TYPE,
    }
    # Applied, because a concurrent run may create it between the two requests.
    secret = cluster.get(SECRET, secret_name, namespace) or cluster.apply(body)
    token, expires = cluster.token_request(namespace, service_account, seconds=seconds, bound_secret=secret)
    granted = claims(token)
    if granted is None:
        return Credential(token=token, expires=expires, secret=secret)
    known |= {
        EXPIRES_ANNOTATION: granted.expires_at,
        ISSUED_ANNOTATION: rfc3339(granted.issued),
        ID_ANNOTATION: granted.id,
    }
    return Credential(token=token, expires=granted.expires_at, secret=cluster.apply(body))


def verify(cluster: Cluster, credential: Credential) -> None:
    """Raise a TenantryError if the API server does not accept the token."""
    deadline = Deadline(PROOF_DELAY)
    while not (status := cluster.token_review(credential.token)).get("authenticated"):
        if deadline.expired:
            reason = one_line(status.get("error") or "no reason was given")
            raise TenantryError(
                f"{cluster.name}: a token just granted is not accepted: {reason}; nothing was revoked. Run again"
            )
        deadline.pause()


def outlived(secret: dict, now: float) -> bool:
    """Return whether the token bound to this Secret has expired."""
    expires: str = (secret["metadata"].get("annotations") or {}).get(EXPIRES_ANNOTATION) or ""
    return bool(expires) and expires < rfc3339(now - CLOCK_SKEW)


def revoke(cluster: Cluster, secret: dict) -> bool:
    """Delete the Secret with this UID, which revokes its token. Return False if it did not exist."""
    meta = secret["metadata"]
    return cluster.delete(SECRET, meta["name"], meta["namespace"], uid=meta["uid"])


def creation_action(namespace: str, name: str) -> dict:
    """Return the creation of a Secret as a row of a result."""
    return {"action": "create", "kind": "Secret", "name": name, "namespace": namespace}


def revocation_actions(secrets: list[dict]) -> list[dict]:
    """Return the deletion of Secrets as rows of a result."""
    return [
        {"action": "delete", "kind": "Secret", "name": meta["name"], "namespace": meta["namespace"]}
        for meta in (secret["metadata"] for secret in secrets)
    ]
