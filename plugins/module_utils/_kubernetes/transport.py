# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The transport below a client: TLS without files, connections that are not lost, safe retries."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    TenantryError,
    is_untrusted_certificate,
    is_webhook_failure,
    one_line,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.time_limit import TimeLimit

try:
    import urllib3
    from requests.utils import get_environ_proxies
    from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError, SSLError
    from urllib3.util.retry import Retry
except ImportError:
    urllib3 = None  # type: ignore[assignment]  # reported once, by _module.main()
    Retry = object  # type: ignore[assignment,misc]  # the class below needs something to stand on

SAVED_CONNECTIONS = 32  # 8 threads, and the watches of many items beside them
ATTEMPTS = 5  # per request, after the first
LONGEST_RETRY_AFTER = 10  # seconds, whatever the server asks for
LONGEST_RETRY_AFTER_OF_TENANTS = 2
# A tenant's API group may answer without an end, and what is read is ten times as large as Python objects.
LARGEST_ANSWER_OF_TENANTS = 32 * 1024 * 1024
PIECE = 64 * 1024
# A connection that may be silent for long notices within a minute that the other side is gone.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # not everywhere
    ),
)
RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})


class _Retry(Retry):
    """Decides which answers allow a retry: never one to a request that may have taken effect."""

    limit: TimeLimit | None = None

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if method == "POST":  # a create may have taken effect, except for 429, which is sent before
            return status_code == 429
        return status_code in RETRIED_STATUS

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Any:
        # A server that accepts and hangs costs a whole timeout each time: two are enough.
        if isinstance(error, ReadTimeoutError) and any(isinstance(h.error, ReadTimeoutError) for h in self.history):
            raise error
        # A failed verification fails again, and a create may have taken effect.
        if isinstance(error, SSLError) and (method == "POST" or is_untrusted_certificate(error)):
            raise MaxRetryError(_pool, url or "", error)
        # The 429 of a disruption budget lasts: its caller repeats the eviction, or reports what denies it.
        if response is not None and response.status == 429 and urlsplit(url or "").path.endswith("/eviction"):
            raise MaxRetryError(_pool, url or "")
        if self.limit and (
            self.limit.reason or (response is not None and is_webhook_failure(response.data.decode(errors="replace")))
        ):
            raise error or MaxRetryError(_pool, url or "")  # of a response: the response is the answer
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def get_retry_after(self, response: Any) -> float | None:
        wanted = super().get_retry_after(response)
        longest = LONGEST_RETRY_AFTER if self.limit is None else LONGEST_RETRY_AFTER_OF_TENANTS
        return None if wanted is None else min(wanted, longest)


def _retries(kind: type = _Retry) -> Any:
    return kind(
        total=ATTEMPTS,
        connect=3,
        read=3,
        other=1,  # a handshake that broke off
        redirect=0,
        allowed_methods=frozenset({"GET", "PATCH", "DELETE"}),
        backoff_factor=0.1,
        backoff_jitter=0.2,
        backoff_max=2,
        raise_on_status=False,  # the last answer says why
    )


def pool_manager(context: ssl.SSLContext | None, proxy: str | None = None, **options: Any) -> Any:
    """Return a connection pool that reads every answer at once, except that of a watch.

    A truncated body then is a failed attempt, and no connection is lost to an unread body.
    """
    base: type[urllib3.PoolManager] = urllib3.ProxyManager if proxy else urllib3.PoolManager

    class Pool(base):  # type: ignore[misc,valid-type]  # either of the two
        def request(self, method: str, url: str, **kw: Any) -> Any:
            watching = "watch=" in url or "watch" in dict(kw.get("fields") or {})
            return super().request(method, url, **{**kw, "preload_content": not watching})

    # urllib3 tells of each retry on stderr, which would be taken for output of the module.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if proxy:
        options |= {"proxy_url": proxy, "proxy_headers": _proxy_headers(proxy)}
    return Pool(ssl_context=context, maxsize=SAVED_CONNECTIONS, retries=_retries(), **options)


def _proxy_headers(proxy: str) -> dict[str, str]:
    """Return the headers with the credentials of a proxy's URL, which urllib3 ignores."""
    address = urlsplit(proxy)
    if address.username is None:
        return {}
    return urllib3.make_headers(proxy_basic_auth=unquote(f"{address.username}:{address.password or ''}"))


def open_socket(pools: Any, server: str, timeout: float) -> ssl.SSLSocket:
    """Return a new TLS connection to the server of a connection pool, for a protocol other than HTTP.

    It goes through the proxy of the pool, and verifies the same name. `timeout` is in seconds. Raise an OSError if it
    cannot be opened.
    """
    pool = pools.connection_from_url(server)
    connection = pool._new_conn()
    connection.timeout = timeout
    try:
        if pool.proxy is None:
            connection.connect()
        else:
            pool._prepare_proxy(connection)
    except HTTPError as error:
        raise OSError(str(error.__cause__ or error)) from error
    if not isinstance(connection.sock, ssl.SSLSocket):  # TLS in TLS, which select() cannot wait for
        connection.close()
        raise OSError("commands and port-forwards need a proxy that begins with http://")
    for level, option, value in KEEPALIVE:
        connection.sock.setsockopt(level, option, value)
    return connection.sock


class _Bounded(HTTPResponse):
    """An answer that is read whole, up to a limit. A compressed one is larger than it looks, and stays as it is."""

    where = ""

    def begin(self) -> None:
        super().begin()
        del self.headers["Content-Encoding"]  # no error without one

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None:
            return super().read(amt)
        found, size = [], 0
        while piece := super().read(PIECE):
            found.append(piece)
            size += len(piece)
            if size > LARGEST_ANSWER_OF_TENANTS:
                raise ApiError(
                    f"{self.where} answered a request with more than {LARGEST_ANSWER_OF_TENANTS >> 20} MiB. Check for "
                    "large objects, and which APIService serves that API, then run again"
                )
        if self.length:
            raise IncompleteRead(b"", self.length)
        return b"".join(found)


class Limiter:
    """Ends a pool's requests when their time limit is used up, and limits the size of answers."""

    def __init__(self, pool: Any, limit: TimeLimit, where: str) -> None:
        connections: WeakSet = WeakSet()
        plain = pool.pool_classes_by_scheme["https"]
        bounded = type("Bounded", (_Bounded,), {"where": where})

        class Watched(plain):  # type: ignore[misc,valid-type]  # whichever the pool has
            def _new_conn(self) -> Any:
                connection = super()._new_conn()
                connection.response_class = bounded
                connections.add(connection)
                return connection

        pool.pool_classes_by_scheme = {"https": Watched}
        pool.connection_pool_kw["retries"] = _retries(type("LimitedRetry", (_Retry,), {"limit": limit}))
        self._connections = connections

    def abort(self) -> None:
        """Close the connections: an answer that arrives byte by byte never times out."""
        for connection in list(self._connections):
            if (stream := getattr(connection, "sock", None)) is not None:
                with suppress(OSError):  # not by the method of TLS, which would take that away from its reader
                    socket.socket.shutdown(stream, socket.SHUT_RDWR)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """A watch, which its server ends in time, or all that goes through the pool ends with it."""
        timer = threading.Timer(seconds, self.abort)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def events(response: Any, doing: str) -> Iterator[tuple[str, dict]]:
    """Of a watch, as type and object."""
    rest = b""
    for chunk in response.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(f"{doing}: {one_line(status.get('message'))}. Run again", status.get("code") or 500)
            yield event["type"], event["object"]
        if len(rest) > LARGEST_ANSWER_OF_TENANTS:
            raise ApiError(f"{doing}: an event has more than {LARGEST_ANSWER_OF_TENANTS >> 20} MiB. Run again")


def ssl_context(cluster: dict, user: dict, where: str) -> ssl.SSLContext:
    """Return a TLS context. The package itself would write CA, certificate and key to files under /tmp."""
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
        raise TenantryError(f"{where}: a certificate or key cannot be loaded ({reason}). Write it again") from None
    return context


@contextmanager
def _file_of(data: str) -> Iterator[str]:
    """Return a path from which OpenSSL can read the content, without a file on disk where possible."""
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


def check_proxy(url: object, where: str) -> None:
    """Raise a TenantryError for a proxy that is not HTTP. The message omits the URL's credentials."""
    try:
        address = urlsplit(url if isinstance(url, str) else "")
        shape = f"{address.scheme}://{address.hostname}"
        valid = address.scheme in ("http", "https") and bool(address.hostname)
    except ValueError:
        shape, valid = "no URL", False
    if not valid:
        raise TenantryError(f"{where}: {shape} is not an HTTP proxy. Set one that begins with http:// or https://")


def environment_proxy(server: str) -> str | None:
    """Return the proxy for a server as curl and kubectl do: HTTPS_PROXY, else ALL_PROXY, unless NO_PROXY matches."""
    proxies = get_environ_proxies(server)
    proxy = proxies.get("https") or proxies.get("all")
    if proxy:
        check_proxy(proxy, f"HTTPS_PROXY or ALL_PROXY for {server}")
    return proxy
