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
    assert asked("/") == (404, "not found\n")
