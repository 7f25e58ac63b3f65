"""Running commands, telling progress, and not doing the same work twice."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .config import LabError

Arguments = Sequence[str | Path]


def run(arguments: Arguments, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    output(arguments, cwd=cwd, env=env)


def output(arguments: Arguments, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; when it fails, an error with the end of what it said."""
    words = [str(argument) for argument in arguments]
    try:
        done = subprocess.run(
            words, check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=cwd, env=env
        )
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed. Run: tests/lab/lab deps") from None
    except subprocess.CalledProcessError as error:
        tail = "\n".join((error.stderr or error.stdout or "").strip().splitlines()[-15:])
        shown = " ".join(words[:6]) + (" ..." if len(words) > 6 else "")
        raise LabError(f"{shown}: exit status {error.returncode}\n{tail}") from None
    return done.stdout


def succeeds(arguments: Arguments) -> bool:
    return (
        subprocess.run(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
        == 0
    )


def say(text: str) -> None:
    print(f"[lab] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step when it begins, every half minute, and with its duration when it is done."""
    say(f"{title} ...")
    start = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(30):
            say(f"{title} ... {time.monotonic() - start:.0f} s")

    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    finally:
        done.set()
        reminder.join()
    say(f"{title}: {time.monotonic() - start:.1f} s")


def cached(result: Path, key: str, make: Callable[[], None], title: str) -> bool:
    """Call `make` unless `result` was made for the same key; the key stands beside the result."""
    stamp = result.with_name(f".{result.name}.key")
    if result.exists() and stamp.exists() and stamp.read_text() == key:
        return False
    stamp.unlink(missing_ok=True)
    if result.is_file():
        # Other places hold hard links to it, which writing into the file would change.
        result.unlink()
    result.parent.mkdir(parents=True, exist_ok=True)
    with step(title):
        make()
    stamp.write_text(key)
    return True


def digest(*parts: str | bytes) -> str:
    """One key for several pieces; where one piece ends and the next begins counts."""
    total = hashlib.sha256()
    for part in parts:
        piece = part.encode() if isinstance(part, str) else part
        total.update(len(piece).to_bytes(8, "big") + piece)
    return total.hexdigest()


def tree_digest(*roots: Path) -> str:
    """Key of the files below some directories: paths, contents and executable bits, but not what Python leaves."""
    parts: list[str | bytes] = []
    for root in roots:
        for path in sorted(root.rglob("*")):
            if "__pycache__" in path.parts:
                continue
            if path.is_symlink():
                parts += [str(path.relative_to(root)), str(path.readlink())]
            elif path.is_file():
                parts += [str(path.relative_to(root)), str(path.stat().st_mode & 0o100), path.read_bytes()]
    return digest(*parts)


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.1)


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Only one command at a time changes a lab; a second one waits."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
