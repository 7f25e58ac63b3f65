"""The types that the steps of one item pass on."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.request import OperationResult, completed

DONE = [{"action": "delete", "kind": "Namespace", "name": "payments--dev"}]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (TenantryError("no answer"), "no answer"),
        (KeyError("metadata"), "tenantry.kube: unexpected KeyError: 'metadata'"),
    ],
)
def test_completed_of_any_exception_keeps_what_was_done(raised: Exception, said: str) -> None:
    def execute() -> OperationResult:
        raise raised

    result = completed(execute, lambda: OperationResult(DONE, []))
    assert result.actions == DONE
    assert result.error.startswith(said)


def test_completed_without_an_exception_has_no_error() -> None:
    result = completed(lambda: OperationResult([], [], {"ready": True}), lambda: OperationResult(DONE, []))
    assert result == OperationResult([], [], {"ready": True})
