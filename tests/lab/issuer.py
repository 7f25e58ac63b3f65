"""An OpenID Connect provider, which signs whom it is told to, over TLS: the package oidc-provider-mock."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import oidc_provider_mock
from werkzeug.serving import make_server

from .tls import self_signed

CLIENT = "kubernetes"
REDIRECT = "http://localhost:8000"  # where a login would go on, on the machine of who logs in


@dataclass(frozen=True)
class Issuer:
    url: str
    ca: Path

    def options(self, **more: Any) -> dict[str, Any]:
        """Of a virtual cluster that trusts it."""
        return {"issuer_url": self.url, "client_id": CLIENT, "ca_file": str(self.ca), **more}

    def token(self, subject: str, client: str = CLIENT, **claims: Any) -> str:
        """An id token, by the authorization code flow: what a login in a browser ends with."""
        self._ask("PUT", f"/users/{quote(subject, safe='')}", json.dumps(claims), "application/json")
        query = {"response_type": "code", "client_id": client, "redirect_uri": REDIRECT, "scope": "openid email"}
        location = self._ask("POST", f"/oauth2/authorize?{urlencode(query)}", urlencode({"sub": subject})).headers
        (code,) = parse_qs(urlsplit(location["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        answer = self._ask("POST", "/oauth2/token", urlencode({**form, "client_id": client, "client_secret": "any"}))
        return str(json.loads(answer.read())["id_token"])

    def credential(self, directory: Path, subject: str, **claims: Any) -> dict[str, Any]:
        """As `command` and `args` of a user: a program that hands kubectl such a token."""
        status = {"token": self.token(subject, **claims)}
        made = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        path = directory / f"{quote(subject, safe='')}.json"
        path.write_text(json.dumps(made))
        return {"command": "cat", "args": [str(path)]}

    def _ask(self, method: str, path: str, body: str, kind: str = "application/x-www-form-urlencoded") -> Any:
        request = urllib.request.Request(
            self.url + path, data=body.encode(), method=method, headers={"Content-Type": kind}
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Here)
        try:
            return opener.open(request, timeout=10)
        except urllib.error.HTTPError as error:
            if error.code != 302:
                raise
            return error


class _Here(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The code is in the address; nobody listens there."""


@contextmanager
def running(directory: Path, address: str = "127.0.0.1", lifetime: float = 3600) -> Iterator[Issuer]:
    directory.mkdir(exist_ok=True)
    certificate, key = self_signed(directory, address)
    app = oidc_provider_mock.app(access_token_max_age=timedelta(seconds=lifetime))
    server = make_server(address, 0, app, threaded=True, ssl_context=(str(certificate), str(key)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Issuer(f"https://{address}:{server.server_port}", certificate)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
