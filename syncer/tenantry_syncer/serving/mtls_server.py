"""A server that only the virtual API server can use, identified by its client certificate."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

from tenantry_syncer.serving.http_server import Handler, Head, Server, answer

# Common names of the API server as a client of kubelets, and as a client of aggregated APIs.
API_SERVER = "system:apiserver"
AGGREGATOR = "system:auth-proxy"
HEAD_LIMIT = 1024 * 1024  # as in API servers: the request line contains the command of an exec
REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    429: "TooManyRequests",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status_json(code: int, message: str, pod: str = "", *, retry_seconds: int = 0) -> str:
    """Return a Status object as JSON."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": message, "reason": REASONS.get(code, ""), "code": code}
    details = ({"name": pod, "kind": "pods"} if pod else {}) | (
        {"retryAfterSeconds": retry_seconds} if retry_seconds else {}
    )
    if details:
        status["details"] = details
    return json.dumps(status)


def client_names(writer: asyncio.StreamWriter) -> list[str]:
    """Return the common names in the client certificate."""
    certificate = writer.get_extra_info("peercert") or {}
    return [value for rdn in certificate.get("subject", ()) for key, value in rdn if key == "commonName"]


class MutualTlsServer:
    """Calls a handler for clients with the common name `client`.

    `tls` must require client certificates of the CA that issued that of `client`; see certificates.py.
    """

    def __init__(self, client: str, handler: Handler, tls: ssl.SSLContext, *, max_connections: int = 256) -> None:
        if tls.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError("tls: verify_mode must be CERT_REQUIRED: only the API server may connect")
        self._client = client
        self._handler = handler
        self._tls = tls
        self._server = Server(self._handle, head_limit=HEAD_LIMIT, max_connections=max_connections)

    async def start(self, port: int, address: str | None = None) -> None:
        """Listen on an address; None: on all addresses."""
        await self._server.start(address, port, self._tls)

    async def close(self) -> None:
        """Stop listening and abort all streams."""
        await self._server.close()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.port

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return self._server.connections

    async def _handle(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if client_names(writer) != [self._client]:
            message = f"the client certificate must be the API server's ({self._client})"
            await answer(writer, 403, status_json(403, message), "application/json")
        else:
            await self._handler(head, reader, writer)
