"""Images and the mirror that serves them: digests that hold, archives that say what they contain."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from tenantry_lab.images import MANIFEST_TYPE, Image, Layout, image_config, write_layer, write_tree
from tenantry_lab.mirror import Mirror

WEB = "docker.io/lab/web:1"
BASE = "docker.io/lab/base:1"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\n")
    write_layer(tmp_path / "layer.tar", {"/bin/web": program}, {"/bin/alias": "web"})
    return tmp_path / "layer.tar"


@pytest.fixture
def layout(tmp_path: Path, layer: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.reset()
    layout.add(Image(BASE, [layer], ["/bin/base"]))
    layout.add(Image(WEB, [layer, layer], ["/bin/web"], ["serve"], volumes=["/var/log"]))
    return layout


@pytest.fixture
def mirror(tmp_path: Path, layout: Layout) -> Mirror:
    release = tmp_path / "releases" / "v1.34.4+lab1"
    release.mkdir(parents=True)
    (release / "k3s").write_bytes(b"binary")
    return Mirror(tmp_path / "releases", layout)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_layer_is_reproducible_and_executable(tmp_path: Path, layer: Path) -> None:
    write_layer(tmp_path / "again.tar", {"/bin/web": tmp_path / "program"}, {"/bin/alias": "web"})
    assert (tmp_path / "again.tar").read_bytes() == layer.read_bytes()
    with tarfile.open(layer) as tar:
        assert {entry.name: (oct(entry.mode), entry.linkname) for entry in tar} == {
            "bin/web": ("0o755", ""),
            "bin/alias": ("0o644", "web"),
        }


def test_layer_of_a_tree_has_only_what_is_below_and_is_reproducible(tmp_path: Path) -> None:
    layers = []
    for name in ("one", "two"):
        for file in ("opt/app/b.py", "opt/app/sub/a.py", "opt/other.py"):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(file)
        write_tree(tmp_path / f"{name}.tar", tmp_path / name, "opt/app")
        layers.append((tmp_path / f"{name}.tar").read_bytes())
    assert layers[0] == layers[1]
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert {entry.name: (oct(entry.mode), entry.isdir()) for entry in tar} == {
            "opt/app/b.py": ("0o644", False),
            "opt/app/sub": ("0o755", True),
            "opt/app/sub/a.py": ("0o644", False),
        }


def test_image_says_as_whom_it_runs(layer: Path) -> None:
    assert image_config(Image(WEB, [layer], ["/bin/web"], user="65532"), [])["config"]["User"] == "65532"


def test_every_blob_has_its_digest_as_name(layout: Layout) -> None:
    blobs = list(layout.blobs.iterdir())
    assert len(blobs) == 5  # one layer, two configurations, two manifests
    assert all(sha256(blob.read_bytes()) == f"sha256:{blob.name}" for blob in blobs)


def test_adding_an_image_again_replaces_it(layout: Layout, layer: Path) -> None:
    before = layout.names()
    layout.add(Image(WEB, [layer], ["/bin/other"]))
    assert list(layout.names()) == [BASE, WEB]
    assert layout.names()[WEB]["digest"] != before[WEB]["digest"]


def test_archive_is_complete_for_both_kinds_of_reader(tmp_path: Path, layout: Layout) -> None:
    layout.export(tmp_path / "images.tar", [WEB])
    with tarfile.open(tmp_path / "images.tar") as tar:
        content = {entry.name: tar.extractfile(entry).read() for entry in tar}
    (docker,) = json.loads(content["manifest.json"])
    assert docker["RepoTags"] == [WEB]
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == WEB
    manifest = json.loads(content["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])
    for part in (manifest["config"], *manifest["layers"]):
        blob = content["blobs/sha256/" + part["digest"].removeprefix("sha256:")]
        assert (sha256(blob), len(blob)) == (part["digest"], part["size"])
    config = json.loads(content[docker["Config"]])
    assert config["rootfs"]["diff_ids"] == [sha256(content[name]) for name in docker["Layers"]]
    assert config["config"]["Volumes"] == {"/var/log": {}}


def test_mirror_serves_an_image_by_tag_and_by_digest(mirror: Mirror, layout: Layout) -> None:
    digest = layout.names()[WEB]["digest"]
    by_tag = mirror.find("/v2/lab/web/manifests/1?ns=docker.io")
    assert (by_tag.media_type, by_tag.digest) == (MANIFEST_TYPE, digest)
    assert mirror.find(f"/v2/lab/web/manifests/{digest}") == by_tag
    layer = json.loads(by_tag.file.read_text())["layers"][0]["digest"]
    assert sha256(mirror.find(f"/v2/lab/web/blobs/{layer}").file.read_bytes()) == layer


def test_mirror_serves_a_release_under_its_encoded_version(mirror: Mirror) -> None:
    assert mirror.find("/releases/download/v1.34.4%2Blab1/k3s").file.read_bytes() == b"binary"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/lab/web/manifests/2",
        "/v2/lab/other/manifests/1",
        "/v2/lab/web/manifests/sha256:" + "0" * 64,
        "/v2/lab/web/blobs/sha256:../../index.json",
        "/releases/download/v1.34.5+lab1/k3s",
        "/releases/download/../layer.tar",
        "/releases/download/%2e%2e/layer.tar",
        "/releases/download/..%2F..%2Fx/layer.tar",
    ],
)
def test_mirror_has_nothing_else(mirror: Mirror, path: str) -> None:
    assert mirror.find(path) is None


def test_manifest_of_an_image_is_not_found_under_a_layers_digest(mirror: Mirror, layer: Path) -> None:
    digest = sha256(layer.read_bytes())
    assert mirror.find(f"/v2/lab/web/blobs/{digest}") is not None
    assert mirror.find(f"/v2/lab/web/manifests/{digest}") is None


def test_archive_can_be_read_as_a_stream(tmp_path: Path, layout: Layout) -> None:
    layout.export(tmp_path / "images.tar", [BASE, WEB])
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "images.tar").read_bytes()), mode="r|") as tar:
        names = [entry.name for entry in tar]
    assert len(names) == len(set(names))
