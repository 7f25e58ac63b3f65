"""Looking for secrets where they must not be: in text, files, running processes, a cluster's objects."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..harness import ran

SHORTEST = 12  # of what is looked for; less would be found by chance
SECONDS = 0.1  # between two looks at what runs
READABLE_BY_OTHERS = 0o077


def forms(value: str) -> set[bytes]:
    """The value, and what of it is the same wherever it lies in something that is encoded with base64, or twice so."""
    assert len(value) >= SHORTEST, "too short to look for"
    once = _encoded(value.encode())
    return {value.encode(), json.dumps(value)[1:-1].encode(), *once, *(two for one in once for two in _encoded(one))}


def _encoded(content: bytes) -> set[bytes]:
    """At each of three offsets, without the characters that its neighbours have a part in."""
    found = set()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + content).rstrip(b"=")
        found.add(text[(0, 2, 3)[shift] : len(text) - 1])
    return found


class Canaries:
    """Secrets by name, all of which have a value of their own."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.names = set(values)
        self._forms = [(form, name) for name, value in values.items() for form in forms(value)]

    def __add__(self, values: Mapping[str, str]) -> Canaries:
        more = Canaries(values)
        more.names |= self.names
        more._forms += self._forms
        return more

    def within(self, content: str | bytes) -> set[str]:
        """The names of those that are in it."""
        raw = content.encode() if isinstance(content, str) else content
        return {name for form, name in self._forms if form in raw}

    def in_files(self, folder: Path) -> dict[str, set[str]]:
        found = {path: self.within(_read(path)) for path in folder.rglob("*") if path.is_file()}
        return {str(path.relative_to(folder)): names for path, names in found.items() if names}


class Watcher:
    """What was seen of the canaries while something ran."""

    def __init__(self, canaries: Canaries, folders: tuple[Path, ...]) -> None:
        self.command_lines: set[bytes] = set()
        self.environments: set[str] = set()
        self.open_files: dict[str, set[str]] = {}  # that others than their owner could read, and what was in them
        self.looks = 0
        self._canaries, self._folders = canaries, folders

    @property
    def arguments(self) -> set[str]:
        return self._canaries.within(b"\n".join(self.command_lines))

    def look(self) -> None:
        self.looks += 1
        for process in Path("/proc").glob("[0-9]*"):
            self.command_lines.add(_read(process / "cmdline"))
            self.environments |= self._canaries.within(_read(process / "environ"))
        for folder in self._folders:
            for path in folder.rglob("*"):
                if not _is_closed(path, folder) and (found := self._canaries.within(_read(path))):
                    self.open_files.setdefault(str(path), set()).update(found)


@contextmanager
def watching(canaries: Canaries, *folders: Path) -> Iterator[Watcher]:
    """Look at all processes, and at the files in some folders, again and again."""
    watcher, end = Watcher(canaries, folders), threading.Event()

    def watch() -> None:
        while not end.wait(SECONDS):
            watcher.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watcher
    finally:
        end.set()
        thread.join()


def _is_closed(path: Path, root: Path) -> bool:
    """Whether it, or a directory on the way to it, is its owner's alone."""
    try:
        steps = [path, *(parent for parent in path.parents if parent.is_relative_to(root) and parent != root)]
        return any(not step.stat().st_mode & READABLE_BY_OTHERS for step in steps)
    except OSError:  # gone by now
        return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone by now, or no file
        return b""


def objects(kubeconfig: Path) -> tuple[str, str]:
    """All objects of all kinds of a cluster as text: those that may hold secrets, and all others."""
    kinds = ran(kubeconfig, "api-resources", "--verbs=list", "-o", "name").split()
    others = ",".join(kind for kind in kinds if kind != "secrets")
    listed = ran(kubeconfig, "get", others, "--all-namespaces", "-o", "json", "--show-managed-fields")
    return ran(kubeconfig, "get", "secrets", "--all-namespaces", "-o", "json"), listed


def values_of(kubeconfig: Path, keys: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """What Secrets of a cluster hold, by namespace, name and key."""
    found = {}
    for namespace, name, key in keys:
        secret = json.loads(ran(kubeconfig, "get", "secret", "-n", namespace, name, "-o", "json"))
        found[f"{namespace}/{name}/{key}"] = base64.b64decode(secret["data"][key]).decode()
    return found
