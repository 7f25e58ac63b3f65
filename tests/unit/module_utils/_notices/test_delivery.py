"""Deliver messages to a real HTTP server and a real SMTP server."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._notices import delivery, messages
from ansible_collections.tenantry.kube.plugins.module_utils._notices.delivery import MaybeDelivered, NotDelivered
from ansible_collections.tenantry.kube.plugins.module_utils._notices.options import MailServer
from syncer.authority import Authority

from .._usage.fleet import NOW
from .facts import notice, options, target
from .receivers import Mailbox, Webhook, mail_server, webhook

SECRET = "/services/T0/secret?key=secret"


def post(url: str, **given: Any) -> None:
    delivery.post(target(url=url, **given), b'{"a": 1}')


def test_webhook_gets_the_body_and_a_token(hook: Webhook) -> None:
    post(f"{hook.url}{SECRET}", token="secret-token")
    assert (hook.bodies, hook.paths) == ([{"a": 1}], [SECRET])
    assert hook.headers["Authorization"] == "Bearer secret-token"
    assert hook.headers["Content-Type"] == "application/json"


def test_user_and_password_of_the_url_are_a_header(hook: Webhook) -> None:
    post(f"{hook.url.replace('://', '://ops:se%40cret@')}/x")
    assert hook.headers["Authorization"] == "Basic b3BzOnNlQGNyZXQ="
    assert hook.headers["Host"] == hook.url.partition("://")[2]


def test_certificate_of_the_webhook_is_verified(authority: Authority, ca_path: str) -> None:
    with webhook(authority.server_context()) as found:
        with pytest.raises(NotDelivered, match=r"its certificate is not trusted\. Set ca_path"):
            post(f"{found.url}{SECRET}")
        with pytest.raises(NotDelivered, match="its certificate is not trusted"):
            post(f"{found.url.replace('127.0.0.1', 'localhost')}{SECRET}", ca_path=ca_path)
        assert found.bodies == []
        post(f"{found.url}{SECRET}", ca_path=ca_path)
        assert found.bodies == [{"a": 1}]


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (302, NotDelivered, "it answered 302 Found, and redirects are not followed"),
        (400, NotDelivered, "it answered 400 Bad Request. Check that the type"),
        (404, NotDelivered, "it answered 404 Not Found. Check its url"),
        (429, NotDelivered, "it answered 429 Too Many Requests. It is overloaded"),
        (500, NotDelivered, "it answered 500 Internal Server Error. Look into its log"),
        (599, NotDelivered, "it answered 599. Look"),
        (502, MaybeDelivered, "a proxy answered 502 Bad Gateway"),
        (504, MaybeDelivered, "a proxy answered 504 Gateway Timeout"),
        (0, MaybeDelivered, "the connection broke before there was an answer"),
    ],
)
def test_answers_of_a_webhook(hook: Webhook, status: int, kind: type[TenantryError], text: str) -> None:
    hook.status = status
    with pytest.raises(kind, match=text) as caught:
        post(f"{hook.url}{SECRET}")
    assert "secret" not in str(caught.value)
    assert hook.paths == [SECRET]  # once, and nowhere else


def test_silent_webhook_may_have_it(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 0.05)
    hook.status = None
    with pytest.raises(MaybeDelivered, match=r"it did not answer within 0\.05 seconds"):
        post(f"{hook.url}{SECRET}")


def test_webhook_that_is_not_there_does_not_have_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url, text in (
        (f"http://127.0.0.1:{port}{SECRET}", "it cannot be reached"),
        (f"https://hooks.invalid{SECRET}", "its name cannot be resolved"),
        (f"https://hooks..invalid{SECRET}", "its url cannot be used"),
    ):
        with pytest.raises(NotDelivered, match=text) as caught:
            post(url)
        assert "secret" not in str(caught.value)


def test_webhook_without_tls_does_not_have_it(hook: Webhook) -> None:
    with pytest.raises(NotDelivered, match="TLS failed"):
        post(hook.url.replace("http://", "https://") + SECRET)
    assert hook.bodies == []


def test_proxy_that_refuses_does_not_have_it(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server knows no CONNECT."""
    monkeypatch.setenv("HTTPS_PROXY", hook.url)
    with pytest.raises(NotDelivered, match="the proxy refused") as caught:
        post(f"https://hooks.example.com{SECRET}")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1")
    with pytest.raises(TenantryError, match="HTTPS_PROXY or ALL_PROXY") as caught:
        post(f"https://hooks.example.com{SECRET}")
    assert "secret" not in str(caught.value)


def test_ca_that_cannot_be_read() -> None:
    with pytest.raises(NotDelivered, match="the certificates in its ca_path cannot be read"):
        post("https://127.0.0.1", ca_path="/nowhere/ca.pem")


def test_what_fails_before_the_connection_is_not_delivered(hook: Webhook, mailbox: Mailbox, ca_path: str) -> None:
    """Validation rejects these before."""
    url = replace(target(), url=hook.url.replace("://", "://ops:secret%C5%82@"))
    with pytest.raises(NotDelivered, match=r"its url cannot be used \(UnicodeEncodeError\)"):
        delivery.post(url, b"{}")
    mail = replace(server(mailbox.port, ca_path=ca_path, **USER), password="secretł")
    with pytest.raises(NotDelivered, match=r"the mail server cannot be used \(UnicodeEncodeError\)") as caught:
        send(mail)
    assert "secret" not in str(caught.value)
    assert (hook.bodies, mailbox.envelopes) == ([], [])


def test_endless_answer_ends() -> None:
    """One that arrives byte by byte."""
    end = threading.Event()
    with pytest.raises(MaybeDelivered, match=r"it did not answer within 0\.05 seconds"):
        delivery.within(0.05, lambda: end.wait(30))
    end.set()
    with pytest.raises(NotDelivered, match="no"):
        delivery.within(30, lambda: post("https://hooks.invalid"))


def server(port: int, **given: Any) -> MailServer:
    found = options(smtp={"port": port, **given}).mail
    assert found
    return found


def send(mail: MailServer, *to: str) -> tuple[str, ...]:
    found = target(type="mail", to=list(to or ["ops@example.com"]))
    return delivery.send(mail, messages.mail_of(found, mail.sender, [notice()], NOW, "run"), found.to)


USER = {"username": "tenantry", "password": "secret-password"}


def test_mail_arrives_by_starttls_with_a_user(mailbox: Mailbox, ca_path: str) -> None:
    assert send(server(mailbox.port, ca_path=ca_path, **USER), "ops@example.com", "team@example.com") == ()
    (one,) = mailbox.envelopes
    assert (one.mail_from, one.rcpt_tos) == ("tenantry@example.com", ["ops@example.com", "team@example.com"])
    assert b"Subject: [tenantry.kube] payments/dev-1 expires soon\r\n" in (one.content or b"")
    assert mailbox.users == [b"tenantry"]


def test_mail_arrives_by_tls(authority: Authority, ca_path: str) -> None:
    with mail_server(authority.server_context(), implicit=True) as found:
        assert send(server(found.port, ca_path=ca_path, security="tls", **USER)) == ()
        assert len(found.envelopes) == 1


def test_mail_arrives_without_tls_only_if_wanted() -> None:
    with mail_server() as found:
        with pytest.raises(NotDelivered, match="the mail server offers no STARTTLS"):
            send(server(found.port))
        assert found.envelopes == []
        assert send(server(found.port, security="none")) == ()
        assert len(found.envelopes) == 1


def test_certificate_of_the_mail_server_is_verified(mailbox: Mailbox) -> None:
    with pytest.raises(NotDelivered, match=r"the certificate of the mail server is not trusted\. Set smtp\.ca_path"):
        send(server(mailbox.port, **USER))
    assert mailbox.users == mailbox.envelopes == []


def test_wrong_password_is_not_shown(mailbox: Mailbox, ca_path: str) -> None:
    mailbox.wrong_password = True
    with pytest.raises(NotDelivered, match=r"refused smtp\.username or smtp\.password \(535\)") as caught:
        send(server(mailbox.port, ca_path=ca_path, **USER))
    assert "secret" not in str(caught.value)


def test_refused_data_is_not_delivered(mailbox: Mailbox, ca_path: str) -> None:
    mailbox.data_answer = "452 mailbox full of secret-password\r\n"
    with pytest.raises(NotDelivered, match="the mail server refused: 452 mailbox full of <redacted>"):
        send(server(mailbox.port, ca_path=ca_path, **USER))


def test_connection_that_breaks_after_the_data_may_have_delivered(mailbox: Mailbox, ca_path: str) -> None:
    mailbox.drops = True
    with pytest.raises(MaybeDelivered, match=r"the connection to the mail server broke \(SMTPServerDisconnected\)"):
        send(server(mailbox.port, ca_path=ca_path, **USER))


def test_some_or_all_recipients_are_refused(mailbox: Mailbox, ca_path: str) -> None:
    mailbox.refused = ("gone@example.com",)
    mail = server(mailbox.port, ca_path=ca_path, **USER)
    assert send(mail, "ops@example.com", "gone@example.com") == ("gone@example.com",)
    with pytest.raises(NotDelivered, match="the mail server refused all recipients: 550 no such user"):
        send(mail, "gone@example.com")
    assert len(mailbox.envelopes) == 1


def test_connection_that_breaks_before_the_data_has_not_delivered(mailbox: Mailbox, ca_path: str) -> None:
    mailbox.drops_early = True
    text = r"the connection to the mail server broke before the message \(SMTPServerDisconnected\)"
    with pytest.raises(NotDelivered, match=text):
        send(server(mailbox.port, ca_path=ca_path, **USER))
    assert mailbox.envelopes == []


def test_recipient_that_is_refused_for_now_gets_it_later_like_the_others(mailbox: Mailbox, ca_path: str) -> None:
    """A server with greylisting accepts it minutes later."""
    mailbox.refused, mailbox.later = ("gone@example.com",), ("team@example.com",)
    with pytest.raises(NotDelivered, match=r"refused team@example\.com for now: 450 try again later"):
        send(server(mailbox.port, ca_path=ca_path, **USER), "gone@example.com", "ops@example.com", "team@example.com")
    assert mailbox.envelopes == []


def test_mail_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotDelivered, match=r"the mail server cannot be reached \(ConnectionRefusedError\)"):
        send(server(port))


def test_tls_is_not_turned_off() -> None:
    context = delivery._tls(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
