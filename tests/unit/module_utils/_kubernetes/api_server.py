"""A server in the test's process that answers a client as the test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

# The status and the object with which a request is answered, by its method and path.
Answer = Callable[[str, str], tuple[int, dict[str, Any]]]


@contextmanager
def api_server(answer: Answer) -> Iterator[tuple[Cluster, list[str]]]:
    """Yield a client of the server, and the requests that arrive there, such as `GET /api`."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            seen.append(f"{self.command} {path}")
            status, obj = answer(self.command, path)
            body = json.dumps(obj).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle

        def log_message(self, *_of: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = {"server": f"http://127.0.0.1:{server.server_port}"}
    cluster = Cluster({"clusters": [{"cluster": address}], "users": [{"user": {}}]}, name="edge", timeout=10)
    try:
        yield cluster, seen
    finally:
        cluster.close()
        server.shutdown()
        server.server_close()
