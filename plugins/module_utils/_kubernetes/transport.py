# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies under a client: TLS without files, connections that are not lost, retries that do nothing twice."""

from __future__ import annotations

import base64
import logging
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

try:
    import urllib3
    from urllib3.exceptions import ReadTimeoutError
    from urllib3.util.retry import Retry
except ImportError:  # reported once, by _module.main(); the class below needs something to stand on
    urllib3 = None
    Retry = object

SAVED_CONNECTIONS = 32  # 8 threads, and the watches of many items beside them
ATTEMPTS = 5  # per request, after the first
LONGEST_RETRY_AFTER = 10  # seconds, whatever the server asks for
RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})


class _Retry(Retry):
    """Which answers are worth a second request: never one that may have taken effect twice."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if method == "POST":  # a create may have happened; 429 is sent before anything does
            return status_code == 429
        if method == "PATCH" and status_code == 409:  # lost a race; an apply carries no resourceVersion
            return True
        return status_code in RETRIED_STATUS

    def increment(
        self, method: Any = None, url: Any = None, response: Any = None, error: Any = None, **rest: Any
    ) -> Any:
        # A server that accepts and hangs costs a whole timeout each time: two are enough.
        if isinstance(error, ReadTimeoutError) and any(isinstance(h.error, ReadTimeoutError) for h in self.history):
            raise error
        return super().increment(method, url, response, error, **rest)

    def get_retry_after(self, response: Any) -> float | None:
        wanted = super().get_retry_after(response)
        return None if wanted is None else min(wanted, LONGEST_RETRY_AFTER)


def _retries() -> Any:
    return _Retry(
        total=ATTEMPTS,
        connect=3,
        read=3,
        other=0,  # TLS
        redirect=0,
        allowed_methods=frozenset({"GET", "PATCH", "DELETE"}),
        backoff_factor=0.1,
        backoff_jitter=0.2,
        backoff_max=2,
        raise_on_status=False,  # the last answer says why
    )


def pool_manager(context: ssl.SSLContext, proxy: str | None = None, **options: Any) -> Any:
    """
    A pool of connections that reads every answer but a watch's at once.

    So a body that is cut off is a failed attempt like any other, and no connection is lost to a body never read.
    """
    base = urllib3.ProxyManager if proxy else urllib3.PoolManager

    class Pool(base):
        def request(self, method: str, url: str, **kw: Any) -> Any:
            watching = "watch=" in url or "watch" in dict(kw.get("fields") or {})
            return super().request(method, url, **{**kw, "preload_content": not watching})

    # urllib3 tells of each retry on stderr, which would be taken for output of the module.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if proxy:
        options["proxy_url"] = proxy
    return Pool(ssl_context=context, maxsize=SAVED_CONNECTIONS, retries=_retries(), **options)


def ssl_context(cluster: dict, user: dict, where: str) -> ssl.SSLContext:
    """Made here rather than by the package, which keeps CA, certificate and key in files under /tmp."""
    try:
        ca = cluster.get("certificate-authority-data")
        context = ssl.create_default_context(cadata=base64.b64decode(ca).decode() if ca else None)
        # Python 3.13 asks of certificates what the CAs of many clusters, k3s's among them, do not give.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if user.get("client-certificate-data"):
            with _file_of(user["client-certificate-data"]) as certificate, _file_of(user["client-key-data"]) as key:
                context.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise TenantryError(f"{where}: a certificate or key cannot be loaded ({reason}); write it anew") from None
    return context


@contextmanager
def _file_of(data: str) -> Iterator[str]:
    """A name under which OpenSSL can open the content; where the system can, without a file on any disk."""
    content = base64.b64decode(data)
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
