# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Deliver a message by HTTP or SMTP. TLS is always verified, and no error shows a URL, a token or a password.

An error says whether the message may have arrived, because only one that certainly did not may be sent again.
"""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    TenantryError,
    is_untrusted_certificate,
    one_line,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.transport import environment_proxy, pool_manager
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import NO_TLS, TLS, MailServer, Target

try:
    from urllib3 import exceptions as urllib3_errors
    from urllib3.util import make_headers
except ImportError:
    urllib3_errors = None  # type: ignore[assignment]  # reported once, by _module.main()

Result = TypeVar("Result")

SECONDS = 20  # for each step
LONGEST = 60  # seconds for all steps: an answer that arrives byte by byte never times out
_NEXT_STEP = {
    400: "Check that the type of the target is that of the webhook",
    401: "Check its url and token",
    403: "Check its url and token",
    404: "Check its url: the webhook may have been deleted",
    410: "Check its url: the webhook may have been deleted",
    413: "Limit its kinds",
    429: "It is overloaded: the next run tries again",
}
# Of a proxy, behind which the message may have arrived.
_UNCERTAIN = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
_ACCEPTED, _FORWARDED = 250, 251  # of SMTP


class NotDelivered(TenantryError):
    """The message certainly was not delivered, so it can be sent again."""


class MaybeDelivered(TenantryError):
    """Nobody knows whether the message was delivered, so it must not be sent again."""


def within(seconds: float, do: Callable[[], Result]) -> Result:
    """Return the result of `do`. Raise MaybeDelivered if that takes longer, and do not wait for its end."""
    done: list[Result] = []
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            done.append(do())
        except BaseException as error:  # pylint: disable=broad-except
            failed.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise MaybeDelivered(f"it did not answer within {seconds:g} seconds. Look for the message there")
    return done[0]


def post(target: Target, body: bytes) -> None:
    """Send the body to a webhook. Raise NotDelivered or MaybeDelivered."""
    parts = urlsplit(target.url)
    try:
        headers = _headers(target)
    except ValueError as error:  # its text has a part of the password
        raise NotDelivered(f"its url cannot be used ({type(error).__name__}). Correct it") from None
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    encrypted = parts.scheme == "https"
    pools = pool_manager(_tls(target.ca_path) if encrypted else None, environment_proxy(origin) if encrypted else None)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # A redirect would take the message to another server, and a retry might deliver it twice.
    how = {"retries": False, "redirect": False, "preload_content": False, "timeout": SECONDS}
    try:
        answer = pools.connection_from_url(origin).request("POST", path, body=body, headers=headers, **how)
        answer.close()
    except (urllib3_errors.HTTPError, OSError) as error:
        raise _no_answer(error) from None
    finally:
        pools.clear()
    if not 200 <= answer.status < 300:
        raise _rejected(answer.status)


def _headers(target: Target) -> dict[str, str]:
    found = {"Content-Type": "application/json", "User-Agent": "tenantry.kube"}
    parts = urlsplit(target.url)
    if target.token:
        found["Authorization"] = f"Bearer {target.token}"
    elif parts.username is not None:
        found |= make_headers(basic_auth=unquote(f"{parts.username}:{parts.password or ''}"))
    return found


def _tls(ca_path: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_path)
    except (OSError, ValueError):  # an SSLError is an OSError
        raise NotDelivered("the certificates in its ca_path cannot be read. Correct it") from None


def _no_answer(error: Exception) -> TenantryError:
    if is_untrusted_certificate(error):
        return NotDelivered("its certificate is not trusted. Set ca_path to the file of its CA")
    if isinstance(error, urllib3_errors.LocationValueError):
        return NotDelivered("its url cannot be used. Correct it")
    if isinstance(error, urllib3_errors.NameResolutionError):
        return NotDelivered("its name cannot be resolved. Check its url")
    if isinstance(error, (urllib3_errors.NewConnectionError, urllib3_errors.ConnectTimeoutError)):
        return NotDelivered("it cannot be reached. Check its url and the network path")
    if isinstance(error, urllib3_errors.ProxyError) or "Tunnel connection failed" in str(error):
        return NotDelivered("the proxy refused. Check HTTPS_PROXY and NO_PROXY")
    if isinstance(error, urllib3_errors.SSLError) and not isinstance(error.args[0], ssl.SSLEOFError):
        return NotDelivered("TLS failed. Check that its url has the right scheme and port")
    if isinstance(error, (urllib3_errors.TimeoutError, TimeoutError)):
        return MaybeDelivered(f"it did not answer within {SECONDS} seconds. Look for the message there")
    return MaybeDelivered("the connection broke before there was an answer. Look for the message there")


def _rejected(code: int) -> TenantryError:
    try:
        answer = f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        answer = str(code)
    if code in _UNCERTAIN:
        return MaybeDelivered(f"a proxy answered {answer}. Look for the message behind it")
    if 300 <= code < 400:
        return NotDelivered(f"it answered {answer}, and redirects are not followed. Set its url to the new one")
    return NotDelivered(f"it answered {answer}. {_NEXT_STEP.get(code, 'Look into its log')}")


def send(server: MailServer, message: EmailMessage, to: tuple[str, ...]) -> tuple[str, ...]:
    """Send a mail, and return the recipients that the server refused while it accepted others.

    Raise NotDelivered or MaybeDelivered.
    """
    body = message.as_bytes()
    with _connected(server) as client:
        try:
            refused = _addressed(client, server, to, len(body))
        except (smtplib.SMTPException, OSError) as error:
            text = f"the connection to the mail server broke before the message ({type(error).__name__})"
            raise NotDelivered(f"{text}. Look into its log") from None
        try:
            code, answer = client.data(body)
        except smtplib.SMTPDataError as error:
            raise NotDelivered(f"the mail server refused: {_said(error.smtp_code, error.smtp_error, server)}") from None
        except (smtplib.SMTPException, OSError) as error:
            text = f"the connection to the mail server broke ({type(error).__name__})"
            raise MaybeDelivered(f"{text}. Look for the message in its log") from None
        if code != _ACCEPTED:
            raise NotDelivered(f"the mail server refused: {_said(code, answer, server)}")
        return refused


def _addressed(client: smtplib.SMTP, server: MailServer, to: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Name the sender and the recipients, and return those that the server refused for good.

    If it refuses one for now, nobody gets the message yet: the next run cannot send it to this one only.
    """
    client.ehlo_or_helo_if_needed()
    code, answer = client.mail(server.sender, [f"size={size}"] if client.has_extn("size") else [])
    if code != _ACCEPTED:
        raise NotDelivered(f"the mail server refused smtp.from: {_said(code, answer, server)}")
    refused = []
    for one in to:
        code, answer = client.rcpt(one)
        if 400 <= code < 500:
            raise NotDelivered(f"the mail server refused {one} for now: {_said(code, answer, server)}")
        if code not in (_ACCEPTED, _FORWARDED):
            refused.append(one)
    if len(refused) == len(to):
        raise NotDelivered(f"the mail server refused all recipients: {_said(code, answer, server)}")
    return tuple(sorted(refused))


@contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    try:
        client = _open(server)
    except NotDelivered:
        raise
    except smtplib.SMTPAuthenticationError as error:
        text = f"the mail server refused smtp.username or smtp.password ({error.smtp_code}). Correct them"
        raise NotDelivered(text) from None
    except smtplib.SMTPNotSupportedError:
        text = "the mail server offers no STARTTLS, or no authentication. Set smtp.security and smtp.port as it offers"
        raise NotDelivered(text) from None
    except (smtplib.SMTPException, OSError) as error:
        if is_untrusted_certificate(error):
            text = "the certificate of the mail server is not trusted. Set smtp.ca_path to the file of its CA"
            raise NotDelivered(text) from None
        text = f"the mail server cannot be reached ({type(error).__name__})"
        raise NotDelivered(f"{text}. Check smtp.host, smtp.port and smtp.security") from None
    except ValueError as error:  # its text has a part of the password
        text = f"the mail server cannot be used ({type(error).__name__})"
        raise NotDelivered(f"{text}. Check smtp.host, smtp.username and smtp.password") from None
    try:
        yield client
    finally:
        with suppress(smtplib.SMTPException, OSError):
            client.quit()


def _open(server: MailServer) -> smtplib.SMTP:
    if server.security == TLS:
        client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=_tls(server.ca_path))
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    try:
        if server.security not in (TLS, NO_TLS):
            client.starttls(context=_tls(server.ca_path))
        if server.password:
            client.login(server.username, server.password)
    except BaseException:
        client.close()
        raise
    return client


def _said(code: int, text: bytes | str, server: MailServer) -> str:
    clean = one_line(text.decode(errors="replace") if isinstance(text, bytes) else text)
    if server.password:
        clean = clean.replace(server.password, "<redacted>")
    return f"{code} {clean}".rstrip(".")
