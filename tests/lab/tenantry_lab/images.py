"""Container images written as an OCI image layout, and archives of them that containerd imports."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .process import file_digest

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
NAME_ANNOTATION = "io.containerd.image.name"


@dataclass(frozen=True)
class Image:
    """What an image consists of: layers are tar files, the lowest first."""

    name: str
    layers: Sequence[Path]
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    environment: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    volumes: Sequence[str] = field(default=())
    user: str = ""


def write_layer(target: Path, files: dict[str, Path], links: dict[str, str] | None = None, mode: int = 0o755) -> None:
    """A layer of some files; the same files give the same bytes."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, source in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = source.stat().st_size, mode
            with source.open("rb") as stream:
                tar.addfile(entry, stream)
        for path, destination in (links or {}).items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, destination
            tar.addfile(entry)


def write_tree(target: Path, root: Path, below: str) -> None:
    """A layer of the directory `below` of a root file system; the same content gives the same bytes."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted((root / below).rglob("*")):
            entry = tarfile.TarInfo(str(path.relative_to(root)))
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            entry.size = path.stat().st_size
            with path.open("rb") as stream:
                tar.addfile(entry, stream)


def image_config(image: Image, layer_digests: Sequence[str]) -> dict:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "Env": list(image.environment),
            "Volumes": {volume: {} for volume in image.volumes},
        },
        # Layers are not compressed, so a layer's identity is the digest of its blob.
        "rootfs": {"type": "layers", "diff_ids": list(layer_digests)},
    }


def descriptor(media_type: str, digest: str, size: int) -> dict:
    return {"mediaType": media_type, "digest": digest, "size": size}


class Layout:
    """An OCI image layout in a directory; the mirror serves it, archives are cut out of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"

    def blob(self, digest: str) -> Path:
        algorithm, _colon, value = digest.partition(":")
        if algorithm != "sha256" or not value.isalnum():
            raise ValueError(f"not a digest: {digest}")
        return self.blobs / value

    def reset(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.blobs.mkdir(parents=True)
        (self.root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._write_index([])

    def names(self) -> dict[str, dict]:
        """The images in the layout: name to the descriptor of its manifest."""
        index = json.loads((self.root / "index.json").read_text())
        return {entry["annotations"][NAME_ANNOTATION]: entry for entry in index["manifests"]}

    def add(self, image: Image) -> None:
        layers = [self._add_file(path) for path in image.layers]
        config = self._add_json(CONFIG_TYPE, image_config(image, [layer["digest"] for layer in layers]))
        manifest = self._add_json(
            MANIFEST_TYPE,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": config,
                "layers": layers,
            },
        )
        manifest["annotations"] = {NAME_ANNOTATION: image.name}
        manifest["platform"] = {"os": "linux", "architecture": "amd64"}
        others = [entry for name, entry in self.names().items() if name != image.name]
        self._write_index([*others, manifest])

    def export(self, target: Path, names: Sequence[str]) -> None:
        """Write some images as one archive, with docker's manifest beside the OCI index as docker writes it."""
        index = [self.names()[name] for name in names]
        manifests = [json.loads(self.blob(entry["digest"]).read_text()) for entry in index]
        docker = [
            {
                "Config": _inside(manifest["config"]),
                "RepoTags": [name],
                "Layers": [_inside(layer) for layer in manifest["layers"]],
            }
            for name, manifest in zip(names, manifests, strict=True)
        ]
        parts = index + [part for manifest in manifests for part in (manifest["config"], *manifest["layers"])]
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            _add_bytes(tar, "oci-layout", (self.root / "oci-layout").read_bytes())
            _add_bytes(tar, "index.json", _json(_index(index)))
            _add_bytes(tar, "manifest.json", _json(docker))
            for digest in dict.fromkeys(part["digest"] for part in parts):
                with self.blob(digest).open("rb") as stream:
                    entry = tarfile.TarInfo(f"blobs/sha256/{digest.partition(':')[2]}")
                    entry.size = self.blob(digest).stat().st_size
                    tar.addfile(entry, stream)

    def _add_file(self, path: Path) -> dict:
        digest = f"sha256:{file_digest(path)}"
        if not self.blob(digest).exists():
            os.link(path, self.blob(digest))
        return descriptor(LAYER_TYPE, digest, path.stat().st_size)

    def _add_json(self, media_type: str, document: dict) -> dict:
        scratch = self.blobs / "new"
        scratch.write_bytes(_json(document))
        digest = f"sha256:{file_digest(scratch)}"
        scratch.replace(self.blob(digest))
        return descriptor(media_type, digest, self.blob(digest).stat().st_size)

    def _write_index(self, manifests: list[dict]) -> None:
        (self.root / "index.json").write_bytes(_json(_index(manifests)))


def _index(manifests: list[dict]) -> dict:
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}


def _inside(part: dict) -> str:
    return "blobs/sha256/" + part["digest"].partition(":")[2]


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
