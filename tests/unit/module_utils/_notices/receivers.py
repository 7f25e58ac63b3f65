"""A webhook and a mail server on this machine, which keep what they get and answer as a test wishes."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope


@dataclass
class Webhook:
    """What was received, and the status of the answer: 0 closes the connection instead, None never answers."""

    status: int | None = 200
    url: str = ""
    headers: Message = field(default_factory=Message)
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    end: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook(context: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            found.paths.append(self.path)
            found.headers = self.headers
            found.on_request()
            if found.status is None:
                found.end.wait(30)
            if not found.status:
                self.close_connection = True
                return
            self.send_response(found.status)
            if 300 <= found.status < 400:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end.set()
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """What was received, and answers other than success: to the data, and to recipients."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)
    data_answer: str = "250 OK"
    refused: tuple[str, ...] = ()
    later: tuple[str, ...] = ()  # recipients that are refused for now
    drops: bool = False  # closes the connection after the data
    drops_early: bool = False  # closes it before
    wrong_password: bool = False

    async def handle_RCPT(self, server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:
        if address in self.refused:
            return "550 no such user"
        if address in self.later:
            return "450 try again later"
        if self.drops_early:
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        if self.drops:
            server.transport.abort()
        return self.data_answer

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        self.users.append(data.login)
        right = not self.wrong_password and data.password == b"secret-password"
        return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(context: ssl.SSLContext | None = None, *, implicit: bool = False) -> Iterator[Mailbox]:
    """Serve SMTP: with STARTTLS, or from the beginning over TLS if `implicit`, or without."""
    found = Mailbox()
    started = threading.Event()
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        required: dict[str, Any] = {"auth_require_tls": not implicit}
        if context and not implicit:
            required |= {"tls_context": context, "require_starttls": True, "auth_required": True}
        return SMTP(found, hostname="localhost", loop=loop, authenticator=found.authenticate, **required)

    async def serve() -> None:
        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if implicit else None)
        found.port = server.sockets[0].getsockname()[1]
        started.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
