# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots in a bucket of an S3-compatible object store, by the names they have in a directory.

Credentials come from the environment, a profile or the machine's role. Never from options.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, shown
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import (
    ARCHIVE,
    DESCRIPTION,
    Snapshot,
    Store,
)

try:
    import minio
    from minio.credentials import providers
    from minio.error import MinioException
    from urllib3 import PoolManager, Retry, Timeout
    from urllib3.exceptions import HTTPError
except ImportError:  # told when a bucket is asked for
    minio = None
    MinioException = HTTPError = OSError

AWS = "https://s3.amazonaws.com"
SECONDS = 30
ATTEMPTS = 3


class Bucket(Store):
    def __init__(self, name: str, prefix: str = "", endpoint: str | None = None, region: str | None = None) -> None:
        if minio is None:
            raise TenantryError("bucket: needs the Python package minio where the module runs; install it")
        url = urlsplit(endpoint or AWS)
        if url.scheme not in ("https", "http") or not url.hostname or url.path.strip("/") or url.username:
            raise TenantryError(
                f"bucket.endpoint: {shown(endpoint)} is not the URL of a store; give one such as https://s3.example.com"
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

    def namespaces(self) -> list[str]:
        return sorted(name for name in map(self._own, self._listed("")) if "--" in name)

    def draft(self, namespace: str, name: str, directory: Path) -> Path:
        return directory / f"{name}{ARCHIVE}"

    def fetch(self, snapshot: Snapshot, directory: Path) -> Path:
        file = f"{snapshot.origin.snapshot}{ARCHIVE}"
        with self._doing("read"):
            self._client.fget_object(self._name, self._key(snapshot.origin.namespace, file), str(directory / file))
        return directory / file

    def _files(self, namespace: str) -> list[str]:
        return sorted(self._own(key).rpartition("/")[2] for key in self._listed(f"{namespace}/"))

    def _text(self, namespace: str, file: str) -> str | None:
        with self._doing("read"):
            try:
                answer = self._client.get_object(self._name, self._key(namespace, file))
            except minio.error.S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            try:
                return answer.read().decode(errors="replace")
            finally:
                answer.close()
                answer.release_conn()

    def _keep(self, namespace: str, name: str, archive: Path, description: str) -> None:
        text = archive.with_name(f"{name}{DESCRIPTION}")
        with self._doing("write to"):
            text.write_text(description, encoding="utf-8")
            for file in (archive, text):
                self._client.fput_object(self._name, self._key(namespace, file.name), str(file))

    def _delete(self, namespace: str, file: str) -> None:
        with self._doing("delete from"):
            self._client.remove_object(self._name, self._key(namespace, file))

    def _key(self, namespace: str, file: str = "") -> str:
        return f"{self._prefix}{namespace}/{file}"

    def _own(self, key: str) -> str:
        return key.removeprefix(self._prefix).rstrip("/")

    def _listed(self, below: str) -> list[str]:
        with self._doing("list"):
            return [one.object_name for one in self._client.list_objects(self._name, f"{self._prefix}{below}")]

    @contextmanager
    def _doing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (MinioException, HTTPError, OSError, ValueError) as error:
            reason = getattr(error, "message", None) or error
            raise TenantryError(
                f"bucket: cannot {doing} {self._name}: {one_line(reason).rstrip('.')}; check its name, endpoint and "
                "the credentials in the environment"
            ) from None
