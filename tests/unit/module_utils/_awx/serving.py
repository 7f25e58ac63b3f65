"""A server of threads for the stand-in."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

from .schema import Failure
from .stand_in import StandIn


@contextmanager
def serving(stand_in: StandIn, context: SSLContext) -> Iterator[str]:
    """Serve at a free port of this machine, and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = re.sub("^Bearer ", "", self.headers.get("Authorization") or "")
            try:
                found = stand_in.handle(self.command, self.path, token, json.loads(content) if content else None)
                status = 204 if found is None else 201 if self.command == "POST" else 200
            except Failure as error:
                found, status = error.body, error.status
            body = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/api/v2/organizations/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_arguments: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
