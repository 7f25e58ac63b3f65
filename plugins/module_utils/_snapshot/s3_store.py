# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots in a bucket of an S3-compatible object store, with the same names as in a directory.

Credentials come from the environment, a profile or the machine's role, never from options.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, shown
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import (
    ARCHIVE,
    DESCRIPTION,
    LARGEST,
    BadFile,
    Snapshot,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import (
    CHUNK,
    MOST_FILES,
    Draft,
    Store,
    few,
    is_namespace,
)

try:
    import minio
    from minio.credentials import providers
    from minio.error import MinioException
    from urllib3 import PoolManager, Retry, Timeout
    from urllib3.exceptions import HTTPError
except ImportError:
    minio = None  # type: ignore[assignment]  # told when a bucket is asked for
    MinioException = HTTPError = OSError  # type: ignore[assignment,misc]  # told when a bucket is asked for

AWS = "https://s3.amazonaws.com"
SECONDS = 30
ATTEMPTS = 3


class Bucket(Store):
    """A store in a bucket. Errors begin with `bucket:`."""

    def __init__(self, name: str, prefix: str = "", endpoint: str | None = None, region: str | None = None) -> None:
        if minio is None:
            raise TenantryError("bucket: needs the Python package minio where the module runs. Install it")
        url = urlsplit(endpoint or AWS)
        if url.scheme not in ("https", "http") or not url.hostname or url.path.strip("/") or url.username:
            raise TenantryError(
                f"bucket.endpoint: {shown(endpoint)} is not the URL of a store. Use one such as https://s3.example.com"
            )
        self._name = name
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        with self._doing("open"):
            found = [providers.EnvAWSProvider(), providers.AWSConfigProvider(), providers.IamAwsProvider()]
            self._client = minio.Minio(
                url.netloc,
                secure=url.scheme == "https",
                region=region,
                credentials=providers.ChainedProvider(found),
                http_client=PoolManager(timeout=Timeout(SECONDS), retries=Retry(ATTEMPTS, backoff_factor=0.2)),
            )

    def where(self, namespace: str, file: str = "") -> str:
        return f"s3://{self._name}/{self._key(namespace, file)}"

    def namespaces(self) -> Iterator[str]:
        """Yield the folders of virtual clusters while the bucket is listed."""
        with self._doing("list"):
            for one in self._client.list_objects(self._name, self._prefix):
                name = one.object_name.removeprefix(self._prefix).rstrip("/")
                if one.is_dir and is_namespace(name):
                    yield name

    @contextmanager
    def draft(self, namespace: str, name: str, directory: Path) -> Iterator[Draft]:
        """Write the archive to a temporary file, which add() uploads."""
        with tempfile.TemporaryFile(dir=directory) as file:
            yield Draft(file, None)

    @contextmanager
    def fetch(self, snapshot: Snapshot, directory: Path) -> Iterator[BinaryIO]:
        """Download the archive, but no more than its recorded size."""
        left = snapshot.bytes + 1
        with tempfile.TemporaryFile(dir=directory) as file:
            with self._doing("read"):
                key = self._key(snapshot.origin.namespace, f"{snapshot.origin.snapshot}{ARCHIVE}")
                with self._opened(key) as answer:
                    while left and (chunk := answer.read(min(CHUNK, left))):
                        file.write(chunk)
                        left -= len(chunk)
            yield file

    def _files(self, namespace: str) -> dict[str, int | None]:
        """List files by name without the prefix."""
        above = self._key(namespace)
        with self._doing("list"):
            found = (one for one in self._client.list_objects(self._name, above) if not one.is_dir)
            sizes = {one.object_name.removeprefix(above): one.size for one in islice(found, MOST_FILES + 1)}
            return {name: sizes[name] for name in few(sizes, self.where(namespace).rstrip("/"))}

    def _text(self, namespace: str, file: str) -> bytes | None:
        with self._doing("read"):
            try:
                with self._opened(self._key(namespace, file)) as answer:
                    return answer.read(LARGEST + 1)
            except minio.error.S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                reason = f"cannot be read: {one_line(error.message or error.code).rstrip('.')}"
                raise BadFile(self.where(namespace, file), f"{reason}. Check the rights to it") from None

    def _keep(self, namespace: str, name: str, draft: Draft, description: bytes) -> None:
        size = draft.file.seek(0, io.SEEK_END)
        draft.file.seek(0)
        with self._doing("write to"):
            self._client.put_object(self._name, self._key(namespace, f"{name}{ARCHIVE}"), draft.file, size)
            text = io.BytesIO(description)
            self._client.put_object(self._name, self._key(namespace, f"{name}{DESCRIPTION}"), text, len(description))

    def _delete(self, namespace: str, file: str) -> None:
        with self._doing("delete from"):
            self._client.remove_object(self._name, self._key(namespace, file))

    def _key(self, namespace: str, file: str = "") -> str:
        return f"{self._prefix}{namespace}/{file}"

    @contextmanager
    def _opened(self, key: str) -> Iterator[Any]:
        answer = self._client.get_object(self._name, key)
        try:
            yield answer
        finally:
            answer.close()
            answer.release_conn()

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (MinioException, HTTPError, OSError, ValueError) as error:
            reason = getattr(error, "message", None) or error
            raise TenantryError(
                f"bucket: cannot {doing} {self._name}: {one_line(reason).rstrip('.')}. Check its name, endpoint and "
                "the credentials in the environment"
            ) from None
