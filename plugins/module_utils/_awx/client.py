# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small client of the controller's REST API, version 2. TLS is always verified."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import Request
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Connection
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    TenantryError,
    is_untrusted_certificate,
    one_line,
)

PAGE_SIZE = 200
_NEXT_STEP = {
    401: "Use a valid token",
    403: "Use a token of a user who has this right",
    404: "Check that the address is that of a controller, and api_prefix",
    409: "Wait until its jobs have ended, then run again",
}
_FALLBACK = "Correct the value named above, or look into the controller's log"

Object = dict[str, Any]


class Controller:
    """Requests of one user. Every method raises an ApiError that names the request, and nothing that was sent."""

    def __init__(self, connection: Connection) -> None:
        self._base = f"{connection.host.rstrip('/')}/{connection.prefix.strip('/')}/"
        # A redirect would take the token to another server.
        self._request = Request(
            headers={
                "Authorization": f"Bearer {connection.token}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            timeout=connection.timeout,
            validate_certs=True,
            ca_path=connection.ca_path,
            follow_redirects="none",
            http_agent="tenantry.kube",
        )

    def get(self, path: str, **query: Any) -> Object:
        return self._send("GET", path, query=query)

    def list(self, path: str, **query: Any) -> list[Object]:
        """Return all objects, of all pages, that have these values."""
        found: list[Object] = []
        page = 1
        while True:
            answer = self.get(path, **query, page=page, page_size=PAGE_SIZE, order_by="id")
            found += answer["results"]
            if not answer.get("next"):
                return found
            page += 1

    def create(self, path: str, fields: Object) -> Object:
        return self._send("POST", path, fields)

    def update(self, path: str, fields: Object) -> Object:
        return self._send("PATCH", path, fields)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def _send(self, method: str, path: str, body: Object | None = None, query: Object | None = None) -> Object:
        url = f"{self._base}{path.strip('/')}/" + (f"?{urlencode(query)}" if query else "")
        doing = f"{method} {path.strip('/')}"
        try:
            with self._request.open(method, url, data=None if body is None else json.dumps(body)) as answer:
                content = answer.read()
        except HTTPError as error:
            raise _refused(error, doing) from None
        except (URLError, OSError) as error:
            raise _no_answer(error, doing, self._base) from None
        return _parsed(content, doing)


def _parsed(content: bytes, doing: str) -> Object:
    if not content:
        return {}
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(f"{doing}: the answer is not JSON. Check that the address is that of a controller")
    return found


def _refused(error: HTTPError, doing: str) -> ApiError:
    try:
        said = "; ".join(_messages(json.loads(error.read())))
    except (ValueError, OSError):
        said = str(error.reason)
    if error.code in (301, 302, 303, 307, 308):
        said = f"a redirect to {error.headers.get('Location')}"
    text = one_line(said).rstrip(".")
    return ApiError(f"{doing}: {error.code} {text}. {_NEXT_STEP.get(error.code, _FALLBACK)}", error.code)


def _messages(answer: Any, field: str = "") -> list[str]:
    """Return the texts of an answer such as {"name": ["This field is required."]}, each with its field."""
    if isinstance(answer, dict):
        return [text for key, value in answer.items() for text in _messages_of(key, value)]
    if isinstance(answer, list):
        return [text for value in answer for text in _messages(value, field)]
    return [f"{field}: {answer}" if field else str(answer)]


def _messages_of(key: str, value: Any) -> list[str]:
    if key == "active_jobs":  # of an object that cannot be deleted
        return [f"jobs {', '.join(str(job['id']) for job in value)}"]
    return _messages(value, "" if key in ("detail", "error") else key)


def _no_answer(error: Exception, doing: str, base: str) -> TenantryError:
    if is_untrusted_certificate(error):
        return ApiError(f"{doing}: the certificate of {base} is not trusted. Set ca_path to the file of its CA")
    reason = getattr(error, "reason", None) or error
    return ApiError(f"{doing}: no answer from {base}: {one_line(reason)}. Check controller_host and the network path")
