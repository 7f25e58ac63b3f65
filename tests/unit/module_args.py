"""Arguments for a module that a test runs, as Ansible passes them."""

from __future__ import annotations

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # before ansible-core 2.19
    import json
    from collections.abc import Iterator
    from contextlib import contextmanager
    from typing import Any
    from unittest import mock

    @contextmanager
    def patch_module_args(module_args: dict[str, Any] | None = None) -> Iterator[None]:  # type: ignore[misc]  # as above
        text = json.dumps({"ANSIBLE_MODULE_ARGS": module_args or {}})
        with mock.patch("ansible.module_utils.basic._ANSIBLE_ARGS", text.encode()):
            yield


__all__ = ["patch_module_args"]
