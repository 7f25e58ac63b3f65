# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a module is doing, shown while it does it: a line per phase, in a terminal as in AWX.

A module can only answer once, at its end. So the action plugin of its name gives it a file, which it finds by an
environment variable where it runs on the controller, and shows what is appended there.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.tenantry.kube.plugins.module_utils._module import PROGRESS

SECONDS = 0.3


class ActionModule(ActionBase):
    """Runs the module of the task as it is."""

    TRANSFERS_FILES = False
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        if wrap_async or self._task.no_log:
            return result | self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        with tempfile.TemporaryDirectory(prefix="tenantry-") as directory:
            file = Path(directory) / "progress"
            file.touch(mode=0o600)
            with _shown(file):
                os.environ[PROGRESS] = str(file)  # of this worker process, which has one task
                return result | self._execute_module(task_vars=task_vars)


@contextmanager
def _shown(file: Path) -> Iterator[None]:
    """Lines of the file, shown as they come."""
    end = threading.Event()

    def show() -> None:
        with file.open(encoding="utf-8") as lines:
            last = False
            while not last:
                last = end.wait(SECONDS)
                for line in lines:
                    Display().display(f"  {line.rstrip()}")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
