"""What the platform tells of the storage classes of the host that are offered."""

from __future__ import annotations

import json
from pathlib import Path

FILE = "storage-classes.json"


class OfferedClasses:
    """What the platform tells of the classes of the host that are offered, by their names."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._text = ""
        self._by_name: dict[str, dict] = {}

    @classmethod
    def read(cls, directory: Path) -> OfferedClasses:
        made = cls(directory / FILE)
        made.refresh()
        return made

    def refresh(self) -> set[str]:
        """The names of those that are not as they were."""
        # An older platform tells none.
        text = self._path.read_text() if self._path and self._path.exists() else "[]"
        if text == self._text:
            return set()
        before, self._text = self._by_name, text
        self._by_name = {one["name"]: one for one in json.loads(text)}
        return {name for name in {**before, **self._by_name} if before.get(name) != self._by_name.get(name)}

    def get(self, name: str) -> dict | None:
        return self._by_name.get(name)

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    @property
    def default(self) -> str | None:
        return next((name for name, one in self._by_name.items() if one["default"]), None)
