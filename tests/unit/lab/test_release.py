"""A published release is fetched once and verified, from a page laid out as the one of k3s."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tenantry_lab import release
from tenantry_lab.config import Lab, LabError

VERSION = "v1.37.2+k3s1"
FILES = {"k3s": b"program", "k3s-airgap-images-amd64.tar": b"images", "k3s-airgap-images-amd64.tar.zst": b"smaller"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the release on the page."""
    root = tmp_path / "page"
    directory = root / VERSION
    directory.mkdir(parents=True)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in FILES.items()]
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    (directory / "sha256sum-amd64.txt").write_text("".join(lines))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("K3S_RELEASE_URL", f"http://127.0.0.1:{server.server_port}")
    yield directory
    server.shutdown()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.from_environment({"LAB_DIR": str(tmp_path / "lab"), "K3S_RELEASE": VERSION})


def test_fetched_once(page: Path, lab: Lab) -> None:
    release.fetch(lab)
    there = release.fetched(lab)
    assert {path.name: path.read_bytes() for path in there.iterdir() if path.suffix != ".txt"} == {
        name: FILES[name] for name in ("k3s", "k3s-airgap-images-amd64.tar")
    }
    for path in page.iterdir():
        path.unlink()
    release.fetch(lab)


@pytest.mark.parametrize("name", ["k3s", "k3s-airgap-images-amd64.tar"])
def test_another_content_is_refused_and_not_kept(page: Path, lab: Lab, name: str) -> None:
    (page / name).write_bytes(b"somebody else's")
    with pytest.raises(LabError, match=f"{name}: does not have the checksum"):
        release.fetch(lab)
    assert not release.fetched(lab).exists()
    (page / name).write_bytes(FILES[name])
    release.fetch(lab)
    assert (release.fetched(lab) / name).read_bytes() == FILES[name]


def test_a_release_that_is_not_there_is_named(page: Path, tmp_path: Path) -> None:
    lab = Lab.from_environment({"LAB_DIR": str(tmp_path / "lab"), "K3S_RELEASE": "v1.37.9+k3s1"})
    with pytest.raises(LabError, match=r"v1\.37\.9%2Bk3s1/sha256sum-amd64\.txt: .*File not found"):
        release.fetch(lab)
