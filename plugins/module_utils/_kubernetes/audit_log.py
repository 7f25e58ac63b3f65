# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read an API server's audit log event by event, because it may be large."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
ISSUED_ID = "authentication.kubernetes.io/issued-credential-id"  # on the request that made it


def events(path: str, field: str) -> Iterator[dict]:
    """Yield the audit events of a file in order. Raise a TenantryError that names `field` if there are none."""
    found = False
    try:
        with Path(path).expanduser().open(encoding="utf-8", errors="replace") as file:
            for event in parsed(file):
                found = True
                yield event
    except OSError as error:
        raise TenantryError(f"{field}: cannot read {path}: {error.strerror}. Use an audit log") from None
    if not found:
        raise TenantryError(
            f"{field}: {path} has no audit events. Use the file that --audit-log-path of an API server names"
        )


class Sink:
    """Parse a log that arrives in pieces. `read` gets the events of the lines that each piece completes.

    A piece beyond `limit` bytes in all raises a TenantryError.
    """

    def __init__(self, read: Callable[[Iterator[dict]], object], limit: int) -> None:
        self._read = read
        self._limit = self._left = limit
        self._rest = bytearray()

    def __call__(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise TenantryError(
                f"the audit log has more than {self._limit >> 20} MiB of events about the platform, and the newest "
                "are missing. Copy its files from the server and name them in audit_logs"
            )
        complete, newline, rest = piece.rpartition(b"\n")
        if newline:
            self._rest += complete
            self._read(parsed(self._rest.decode(errors="replace").split("\n")))
            self._rest.clear()
        self._rest += rest


def parsed(lines: Iterable[str]) -> Iterator[dict]:
    """Yield the audit events among these lines. Skip all other lines."""
    return (event for line in lines if (event := _event(line)))


def _event(line: str) -> dict | None:
    if '"audit.k8s.io/' not in line:
        return None
    try:
        event = json.loads(line)
    except ValueError:  # the last line may be half written
        return None
    return event if isinstance(event, dict) and event.get("kind") == "Event" else None


def last_uses(found: Iterable[dict]) -> dict[str, str]:
    """Return the time of each credential's last successful use, by its id."""
    uses: dict[str, str] = {}
    for event in found:
        moment = event.get("requestReceivedTimestamp") or ""
        for credential in ((event.get("user") or {}).get("extra") or {}).get(CREDENTIAL_ID) or []:
            uses[credential] = max(uses.get(credential, ""), moment)
    return {credential: f"{moment[:19]}Z" for credential, moment in uses.items() if moment}
