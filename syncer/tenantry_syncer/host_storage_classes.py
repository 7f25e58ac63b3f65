"""The host's storage classes that the virtual cluster may use, as the platform writes them."""

from __future__ import annotations

import json
from pathlib import Path

FILE = "storage-classes.json"


class OfferedClasses:
    """The offered storage classes of the host by name."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._text = ""
        self._by_name: dict[str, dict] = {}

    @classmethod
    def read(cls, directory: Path) -> OfferedClasses:
        """Read the classes from the file in `directory`."""
        classes = cls(directory / FILE)
        classes.refresh()
        return classes

    def refresh(self) -> set[str]:
        """Read the file again and return the names of the classes that were added, changed or removed."""
        # An older platform does not write the file.
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
