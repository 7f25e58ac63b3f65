# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Errors that administrators see, one line each: option or action, value, rule, remedy."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable
from typing import TypeVar

try:
    from kubernetes.client.exceptions import ApiException
    from urllib3 import exceptions as urllib3_errors
except ImportError:
    ApiException = None  # type: ignore[assignment,misc]  # reported once, by _module.main()
    urllib3_errors = None  # type: ignore[assignment]  # reported once, by _module.main()

T = TypeVar("T")

LONGEST_MESSAGE = 600
# Of a text that a tenant may have made as long as an object can be.
LONGEST_READ = 16 * 1024
# What API servers say only in words, of an admission webhook that does not answer or answers nonsense, and of a quota.
_WEBHOOK = "failed calling webhook"
_QUOTA = re.compile(r"exceeded quota: [^,]*(?:, requested: (?P<requested>\S*),)?")

# What an API server or a TLS library may quote back that must not be shown again. Tenants choose what is searched, so
# that time must grow with the length only: nowhere may a search begin again within what another has just gone over.
_WORDS = re.compile(r"[\w.-]+")
_TOKEN, _SHORTEST_TOKEN = "eyJ", 11
_REDACTED = "<redacted>"
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|$)"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}",
    re.DOTALL,
)

# Where something is: as a URL, an address of either kind, a name with a port, and as urllib3 says it.
_ADDRESSES = re.compile(
    r"\b[a-z]+://[^\s;,'\")]*[^\s;,'\").:]"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?\b"
    r"|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.%\w]*\](?::\d+)?"
    r"|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?![\w:.])"
    r"|\b(?:[A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*:\d{2,5}\b"
    r"|(?<=host=')[^']*|(?<=port=)\d+"
)

_NEXT_STEP = {
    401: "the credential expired, was revoked or is of another cluster: use a valid one",
    403: "use a credential that has this right",
    404: "check that the object and its namespace exist",
    409: "the object was modified concurrently: run again",
    413: "make the object smaller",
    422: "correct the value named above",
    429: "the API server is overloaded: run again later",
}


class TenantryError(Exception):
    """An error whose text is complete for an administrator: `str(error)` is one line."""


class Obstacle(TenantryError):
    """An error caused by what exists on a cluster, not by the input. It fails only the item concerned."""


class ApiError(Obstacle):
    """A failed request. `status` is the HTTP status, or None if there was no answer.

    `said` is the message of the API server as it came, for code that looks for something in it. It may be long and
    quote secrets, so it must not be shown.
    """

    def __init__(self, message: str, status: int | None = None, *, said: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.said = said

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later without any change."""
        return self.status is None or self.status in (410, 429) or self.status >= 500


class WebhookError(ApiError):
    """The API server could not call an admission webhook."""


class QuotaExceeded(ApiError):
    """A ResourceQuota has no room. `resources` are the requested ones, by their names in the quota."""

    def __init__(
        self, message: str, status: int | None = None, resources: Iterable[str] = (), *, said: str = ""
    ) -> None:
        super().__init__(message, status, said=said)
        self.resources = frozenset(resources)


def require(value: T | None, what: str) -> T:
    """Return `value`, which an earlier step guarantees. Raise a TypeError with `what` if it is None."""
    if value is None:
        raise TypeError(f"{what} is missing")
    return value


def one_line(text: object) -> str:
    """Return the text without line breaks, control characters and anything that looks like a credential."""
    clean = _SECRETS.sub(_REDACTED, str(text)[:LONGEST_READ])
    clean = _WORDS.sub(lambda found: _without_token(found[0]), clean)
    clean = " ".join("".join(c if c.isprintable() else " " for c in clean).split())
    return clean if len(clean) <= LONGEST_MESSAGE else clean[: LONGEST_MESSAGE - 1] + "…"


def _without_token(word: str) -> str:
    """The word up to where a JSON Web Token begins: a part with that beginning, and another one behind a dot."""
    if _TOKEN not in word:
        return word
    at = 0
    for part in word.split("."):
        begin, end = at + part.find(_TOKEN), at + len(part)
        if _TOKEN in part and end - begin >= _SHORTEST_TOKEN and word[end + 1 : end + 2] not in ("", "."):
            return word[:begin] + _REDACTED
        at = end + 1
    return word


def without_addresses(text: str, known: str | None = None) -> str:
    """Return the text without addresses of hosts, for readers who must not know them. Keep `known`."""
    return _ADDRESSES.sub(lambda found: found[0] if known and found[0].rstrip("/") == known else "<address>", text)


def shown(value: object) -> str:
    """Return a value quoted for an error message, with control characters and look-alikes escaped."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def api_error(exc: Exception, doing: str, renewal: str = "") -> TenantryError:
    """Convert an exception of the kubernetes package or urllib3. `doing` names the action and the object.

    `renewal` is the remedy if the server rejects the credential.
    """
    if isinstance(exc, TenantryError):
        return exc
    if ApiException is not None and isinstance(exc, ApiException) and exc.status:
        return _refused(exc, doing, renewal)
    return ApiError(f"{doing}: {_no_answer(exc)}")


def _refused(exc: ApiException, doing: str, renewal: str) -> ApiError:
    next_step = (
        renewal
        if renewal and exc.status == 401
        else _NEXT_STEP.get(exc.status, "look into the API server's log, then run again")
    )
    said = _server_message(exc)
    message = one_line(said).rstrip(".")
    if is_webhook_failure(said):
        next_step = "remove or repair that webhook in the cluster, then run again"
        return WebhookError(f"{doing}: {exc.status} {message}; {next_step}", exc.status, said=said)
    text = f"{doing}: {exc.status} {message}; {next_step}"
    if quota := _QUOTA.search(said):
        requested = (quota["requested"] or "").split(",")
        return QuotaExceeded(text, exc.status, (one.partition("=")[0] for one in requested if one), said=said)
    return ApiError(text, exc.status, said=said)


def refusal(exc: ApiException) -> str:
    """Return the server's message with its causes. A denied eviction names the disruption budget there."""
    return one_line(" ".join([_server_message(exc), *(cause.get("message", "") for cause in _causes(exc))])).rstrip(".")


def is_webhook_failure(answer: str) -> bool:
    """Return whether an answer's text reports a failed webhook. Kubernetes has no reason code for that."""
    return _WEBHOOK in answer


def is_untrusted_certificate(error: BaseException | None) -> bool:
    """Return whether the error is, or wraps, the rejection of a server's certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        inner = [getattr(error, "reason", None), *error.args, error.__cause__]
        error = next((one for one in inner if isinstance(one, BaseException)), None)
    return False


def is_terminating(exc: ApiException) -> bool:
    """Return whether the request was rejected because its namespace is being deleted."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(exc))


def is_field_conflict(exc: ApiException) -> bool:
    """Return whether an apply was rejected because another field manager has one of its fields."""
    return any(cause.get("reason") == "FieldManagerConflict" for cause in _causes(exc))


def _causes(exc: ApiException) -> list[dict]:
    try:
        return json.loads(exc.body or "")["details"]["causes"]
    except (ValueError, KeyError, TypeError):
        return []


def _server_message(exc: ApiException) -> str:
    body = exc.body.decode(errors="replace") if isinstance(exc.body, bytes) else exc.body or ""
    try:
        return json.loads(body).get("message") or exc.reason or ""
    except (ValueError, AttributeError):
        return f"{exc.reason or ''} {body[:200]}"


def _no_answer(exc: Exception) -> str:
    """Explain a missing answer by the cause below urllib3's wrappers."""
    reason = getattr(exc, "reason", None)
    cause = reason if isinstance(reason, Exception) else exc
    first = cause.args[0] if cause.args else ""  # urllib3 puts the same again behind it
    text = one_line(first if isinstance(first, str) else cause).split(">: ", 1)[-1]
    if urllib3_errors is None:
        return text
    if isinstance(cause, urllib3_errors.SSLError) or is_untrusted_certificate(cause):
        return f"TLS failed: {text}. Check the CA and the server address in the kubeconfig"
    if isinstance(cause, urllib3_errors.ReadTimeoutError):
        return "no answer in time. Check that the API server is healthy, or raise timeout"
    if isinstance(cause, urllib3_errors.ProxyError):
        return f"the proxy refused: {text}. Check the proxy settings (HTTPS_PROXY, NO_PROXY)"
    if isinstance(cause, (urllib3_errors.NewConnectionError, urllib3_errors.ConnectTimeoutError)):
        return f"cannot connect: {text}. Check that the address is right and reachable from here"
    if isinstance(cause, (urllib3_errors.HTTPError, OSError)):
        return f"the connection broke: {text}. Check the network path and run again"
    if isinstance(cause, ValueError):
        return f"the answer is not JSON ({text}). Check that the address is that of a Kubernetes API server"
    return f"{type(cause).__name__}: {text}"
