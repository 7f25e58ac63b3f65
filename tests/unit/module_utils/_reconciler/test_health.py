"""The health endpoint."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import health


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_each_path_says_what_is_wrong(host: str) -> None:
    port = health.serve(0, {"/healthz": lambda: "", "/readyz": lambda: "waiting for the lease"})

    def asked(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    assert asked("/healthz") == (200, "ok\n")
    assert asked("/readyz") == (503, "waiting for the lease\n")
    assert asked("/metrics") == (404, "not found\n")
    assert asked("/") == (404, "not found\n")


def test_metrics_have_the_content_type_of_prometheus() -> None:
    port = health.serve(0, {}, lambda: "tenantry_reconciler_leader 1\n")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.read() == b"tenantry_reconciler_leader 1\n"
