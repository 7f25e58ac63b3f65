"""The lab's mirror: a k3s release page and a read-only image registry, over HTTP.

Runs as a process of its own: python3 -m tenantry_lab.mirror LAB_DIR ADDRESS PORT
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .images import MANIFEST_TYPE, Layout

RELEASE_PATH = re.compile(r"/releases/download/([^/]+)/([^/]+)")
MANIFEST_PATH = re.compile(r"/v2/(.+)/manifests/([^/]+)")
BLOB_PATH = re.compile(r"/v2/.+/blobs/(sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Found:
    """What to answer: a file or, for the registry's own messages, a short body."""

    media_type: str
    file: Path | None = None
    body: bytes = b""
    digest: str | None = None


class Mirror:
    """What is where; no HTTP in here."""

    def __init__(self, releases: Path, layout: Layout) -> None:
        self.releases = releases
        self.layout = layout

    def find(self, target: str) -> Found | None:
        path = unquote(urlsplit(target).path)
        if path in ("/v2", "/v2/"):
            return Found("application/json", body=b"{}")
        if match := RELEASE_PATH.fullmatch(path):
            return self._file(self.releases / match[1] / match[2], "application/octet-stream")
        if match := MANIFEST_PATH.fullmatch(path):
            return self._manifest(match[1], match[2])
        if match := BLOB_PATH.fullmatch(path):
            return self._file(self.layout.blob(match[1]), "application/octet-stream", match[1])
        return None

    def _manifest(self, repository: str, reference: str) -> Found | None:
        images = self.layout.names()
        if reference.startswith("sha256:"):
            known = any(entry["digest"] == reference for entry in images.values())
            digest = reference if known else None
        else:
            digest = images.get(f"docker.io/{repository}:{reference}", {}).get("digest")
        return self._file(self.layout.blob(digest), MANIFEST_TYPE, digest) if digest else None

    def _file(self, path: Path, media_type: str, digest: str | None = None) -> Found | None:
        if ".." in path.parts or not path.is_file():
            return None
        return Found(media_type, file=path, digest=digest)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        found = self.mirror.find(self.path)
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        if found is None:
            error = {"errors": [{"code": "NOT_FOUND", "message": "the lab's mirror does not have this"}]}
            found = Found("application/json", body=json.dumps(error).encode())
        self.send_response(status)
        self.send_header("Content-Type", found.media_type)
        self.send_header("Content-Length", str(found.file.stat().st_size if found.file else len(found.body)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if found.digest:
            self.send_header("Docker-Content-Digest", found.digest)
        self.end_headers()
        if with_body and found.file:
            with found.file.open("rb") as stream:
                self.wfile.flush()
                self.connection.sendfile(stream)
        elif with_body:
            self.wfile.write(found.body)


def serve(directory: Path, address: str, port: int) -> None:
    mirror = Mirror(directory / "mirror" / "releases" / "download", Layout(directory / "oci"))
    handler = type("MirrorHandler", (Handler,), {"mirror": mirror})
    with ThreadingHTTPServer((address, port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
