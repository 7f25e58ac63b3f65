"""Handshakes that break off: which requests are sent a second time."""

from __future__ import annotations

import ssl

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import transport
from urllib3.exceptions import MaxRetryError, SSLError


def test_a_read_is_sent_once_more() -> None:
    again = transport._retries().increment("GET", "/", error=SSLError("TLSV1_ALERT_DECODE_ERROR"))
    with pytest.raises(MaxRetryError):
        again.increment("GET", "/", error=SSLError("TLSV1_ALERT_DECODE_ERROR"))


@pytest.mark.parametrize(
    ("method", "cause"),
    [("POST", ssl.SSLError("TLSV1_ALERT_DECODE_ERROR")), ("GET", ssl.SSLCertVerificationError("self-signed"))],
)
def test_a_create_or_a_wrong_certificate_is_not(method: str, cause: ssl.SSLError) -> None:
    with pytest.raises(MaxRetryError):
        transport._retries().increment(method, "/", error=SSLError(cause))
