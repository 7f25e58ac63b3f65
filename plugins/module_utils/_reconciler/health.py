# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint of the reconciler: /healthz and /readyz, and /metrics if it is wanted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.metrics import CONTENT_TYPE

# Returns why not, or an empty string.
Check = Callable[[], str]


class _Server(ThreadingHTTPServer):
    """Listens on all addresses, IPv6 too where there is any."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(port: int, checks: dict[str, Check], metrics: Callable[[], str] | None = None) -> int:
    """Answer each path of `checks` with 200 or 503, in a thread, and /metrics with these, unless they are None.

    Return the port, a free one for 0.
    """

    def answer(path: str) -> tuple[HTTPStatus, str, str]:
        if metrics and path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, metrics()
        check = checks.get(path)
        problem = check() if check else "not found"
        code = HTTPStatus.OK if not problem else HTTPStatus.SERVICE_UNAVAILABLE if check else HTTPStatus.NOT_FOUND
        return code, "text/plain; charset=utf-8", f"{problem or 'ok'}\n"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, text = answer(self.path)
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: probes come all the time."""

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="health").start()
    return server.server_address[1]
