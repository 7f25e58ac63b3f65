# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client for a virtual cluster's etcd, by its JSON gateway through a port-forward of the host."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    TenantryError,
    api_error,
    one_line,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.port_forward import pool_through
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded, encoded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CERTIFICATES, CLIENT_PORT

try:
    from urllib3.exceptions import HTTPError
except ImportError:
    HTTPError = OSError  # type: ignore[assignment,misc]  # reported once, by _module.main()

# A database ends on a page; what follows it in a snapshot is its checksum.
_PAGE = 512
_CHECKSUM = 32


class EtcdApi:
    """One etcd."""

    def __init__(self, pool: Any, name: str) -> None:
        self._pool = pool
        self._name = name

    def revision(self) -> int:
        """Return the current revision."""
        return int(self._ask("maintenance/status", {})["header"]["revision"])

    def keys(self, prefix: str) -> list[str]:
        found = self._ask("kv/range", {**_range(prefix), "keys_only": True})
        return [base64.b64decode(one["key"]).decode() for one in found.get("kvs") or []]

    def delete(self, prefix: str, *, single: bool = False) -> None:
        """Delete all keys with this prefix, or with `single` the key itself."""
        self._ask("kv/deleterange", {"key": encoded(prefix)} if single else _range(prefix))

    def snapshot(self, target: Path) -> None:
        """Write a consistent snapshot of the database, as etcd's own tools do."""
        doing = f"taking the snapshot of etcd of {self._name}"
        try:
            response = self._pool.request(
                "POST", "/v3/maintenance/snapshot", body=b"{}", preload_content=False, retries=False
            )
            if response.status != 200:
                raise ApiError(f"{doing}: it answered {response.status}")
            with target.open("wb") as file:
                for line in _lines(response):
                    message = json.loads(line)
                    if "result" not in message:
                        raise ApiError(f"{doing}: {one_line(str(message.get('error')))}")
                    file.write(base64.b64decode(message["result"].get("blob") or ""))
        except (HTTPError, ValueError) as error:
            raise api_error(error, doing) from None
        except OSError as error:
            raise TenantryError(f"{doing}: {target.parent}: {error.strerror or one_line(error)}") from None
        check(target)

    def _ask(self, path: str, body: dict) -> dict:
        doing = f"querying etcd of {self._name}"
        try:
            response = self._pool.request("POST", f"/v3/{path}", body=json.dumps(body).encode(), retries=False)
            answer = json.loads(response.data)
        except (HTTPError, OSError, ValueError) as error:
            raise api_error(error, doing) from None
        if response.status != 200:
            raise ApiError(f"{doing}: {one_line(str(answer.get('message', response.status)))}")
        return answer


@contextmanager
def etcd_of(host: Cluster, namespace: str) -> Iterator[EtcdApi]:
    """Connect to the first ready member of a virtual cluster's etcd."""
    files = decoded(host.get(SECRET, CERTIFICATES, namespace))
    if not files:
        raise TenantryError(f"Secret {CERTIFICATES} of {namespace} is missing. Run tenantry.kube.vcluster for it first")
    member = _ready_member(host, namespace)
    pools = pool_through(host, namespace, lambda: member, CLIENT_PORT)
    pool = pools(f"{member}.{ETCD}.{namespace}.svc", CLIENT_PORT, ssl_context=_security(files), timeout=host.timeout)
    try:
        yield EtcdApi(pool, namespace)
    finally:
        pool.close()


def check(database: Path) -> None:
    """Verify a snapshot by the checksum at its end. Raise a TenantryError."""
    size = database.stat().st_size
    found, rest = hashlib.sha256(), size - _CHECKSUM
    with database.open("rb") as file:
        while rest > 0 and (chunk := file.read(min(rest, 1024 * 1024))):
            found.update(chunk)
            rest -= len(chunk)
        if size % _PAGE != _CHECKSUM or file.read() != found.digest():
            raise TenantryError("the snapshot of etcd is corrupted: checksum mismatch")


def _ready_member(host: Cluster, namespace: str) -> str:
    ready = [pod["metadata"]["name"] for pod in connection.pods_of(host, namespace, ETCD) if is_ready(pod)]
    if not ready:
        raise ApiError(f"no member of etcd of {namespace} is ready. Check its pods on {host.name}")
    return min(ready)


def _security(files: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=files["ca.crt"])
    # The ssl module takes a key from a file only. This one is its owner's alone, and gone at once.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(files["client.key"] + files["client.crt"])
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(1024 * 1024):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)
    if rest.strip():
        yield rest


def _range(prefix: str) -> dict[str, str]:
    """Return the range of keys with this prefix."""
    return {"key": encoded(prefix), "range_end": encoded(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
