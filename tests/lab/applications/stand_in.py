"""The program in the place of every image of tests/lab/applications: checks what its container was given.

Each argument is one instruction, words as in a shell. Servers start first. Checks are repeated until they pass, in
order; then the container is ready, or exits with 0 if it serves nothing. `--once` as first argument: try only once.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import shlex
import shutil
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PATIENCE = 100
SERVERS = ("serve", "grpc", "stay")
state = {"failure": "not checked yet"}
starting: set[str] = set()  # servers that do not listen yet


def need(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)


def file(path: str, *words: str) -> None:
    content = Path(path).read_text()
    need(" ".join(words) in content, f"{path} has {content[:300]!r}")


def absent(path: str) -> None:
    need(not Path(path).exists(), f"{path} exists")


def executable(path: str) -> None:
    need(os.access(path, os.X_OK), f"{path} is not executable")


def env(name: str, *wanted: str) -> None:
    need(os.environ.get(name), f"{name} is not set")
    need(not wanted or os.environ[name] == " ".join(wanted), f"{name} is {os.environ[name]!r}")


def user(uid: str, *groups: str) -> None:
    """The user, and groups that it is in."""
    found = {os.getgid(), *os.getgroups()}
    need(os.getuid() == int(uid), f"user is {os.getuid()}")
    need({*map(int, groups)} <= found, f"groups are {found}")


def writes(directory: str) -> None:
    scratch = Path(directory, f".{os.getpid()}")
    scratch.write_text("x")
    scratch.unlink()


def readonly(directory: str) -> None:
    with contextlib.suppress(OSError):
        writes(directory)
        raise ValueError(f"{directory} can be written")


def hostname(wanted: str) -> None:
    need(socket.gethostname() == wanted, f"host name is {socket.gethostname()}")


def token(path: str, audience: str) -> None:
    """A token for an audience of this pod's own ServiceAccount, not expired."""
    part = Path(path).read_text().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    need(audience in claims["aud"], f"audience is {claims['aud']}")
    need(claims["exp"] > time.time(), "token has expired")
    need(claims["kubernetes.io"]["pod"]["name"] == socket.gethostname(), f"token is of {claims['kubernetes.io']}")


def write(path: str, *words: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(" ".join(words))


def copy(source: str, target: str) -> None:
    """As `cp`; of a file it keeps the mode, so that a copied program can be run."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def receive(path: str) -> None:
    """What comes to standard input, into a file and to standard output."""
    content = sys.stdin.read()
    Path(path).write_text(content)
    print(content, end="", flush=True)


def say(*words: str) -> None:
    print(*words, flush=True)


def resolve(name: str, *wanted: str) -> None:
    found = {one[4][0] for one in socket.getaddrinfo(name, None, socket.AF_INET)}
    need({*wanted} <= found, f"{name} has {sorted(found)}")


def connect(host: str, port: str) -> None:
    socket.create_connection((host, int(port)), 3).close()


def get(url: str, *words: str) -> None:
    with urllib.request.urlopen(url, timeout=5) as answer:
        content = answer.read().decode()
    need(" ".join(words) in content, f"{url} answers {content[:300]!r}")


def scrape(service: str, port: str, least: str = "1") -> None:
    """Every pod behind a Service, found in its endpoint slices, at its own address."""
    folder = "/apis/discovery.k8s.io/v1/namespaces/NAMESPACE/endpointslices"
    slices = api(f"{folder}?labelSelector=kubernetes.io/service-name={service}")
    addresses = [one for each in slices["items"] for point in each["endpoints"] or [] for one in point["addresses"]]
    need(len(addresses) >= int(least), f"{service} has {addresses}")
    for address in addresses:
        get(f"http://{address}:{port}/metrics", "stand_in_up 1")


def _namespace() -> str:
    return (ACCOUNT / "namespace").read_text()


def _own() -> str:
    return f"/api/v1/namespaces/{_namespace()}"


def call(method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
    """Answers what the API server does; None for 404 and 409."""
    url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}"
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": kind}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        if refused.code in (404, 409):
            return None
        raise ValueError(f"{method} {path}: {refused.code} {refused.read().decode()[:300]}") from None


def api(path: str, *words: str) -> Any:
    found = call("GET", path.replace("NAMESPACE", _namespace()))
    need(found is not None, f"{path} is not there")
    need(" ".join(words) in json.dumps(found), f"{path} has {json.dumps(found)[:300]}")
    return found


def _allowed(verb: str, resource: str, namespace: str | None = None) -> bool:
    name, _slash, subresource = resource.partition("/")
    name, _dot, group = name.partition(".")
    where = {"verb": verb, "resource": name, "group": group, "subresource": subresource}
    spec = {"resourceAttributes": where | {"namespace": _namespace() if namespace is None else namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    return call("POST", path, review)["status"]["allowed"]


def may(verb: str, resource: str, namespace: str | None = None) -> None:
    need(_allowed(verb, resource, namespace), f"may not {verb} {resource}")


def maynot(verb: str, resource: str, namespace: str | None = None) -> None:
    need(not _allowed(verb, resource, namespace), f"may {verb} {resource}")


def lead(name: str, namespace: str | None = None) -> None:
    """Take part in an election by a Lease: to hold it, or to see that another one does."""
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": socket.gethostname(),
        "leaseDurationSeconds": 15,
        "renewTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace or _namespace()}/leases"
    found = call("GET", f"{folder}/{name}")
    if found is None:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        need(call("POST", folder, lease), "somebody else was faster")
        return
    renewed = datetime.fromisoformat(found["spec"]["renewTime"])
    if found["spec"]["holderIdentity"] == socket.gethostname() or renewed < now - timedelta(seconds=15):
        need(call("PUT", f"{folder}/{name}", found | {"spec": found["spec"] | spec}), "somebody else was faster")


def certificate(name: str, *hosts: str) -> None:
    """Make a certificate that is its own CA, as webhooks do for themselves, unless the Secret has one."""
    if call("GET", f"{_own()}/secrets/{name}"):
        return
    data = {key: value.decode() for key, value in _signed(hosts).items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    call("POST", f"{_own()}/secrets", secret)


def _signed(hosts: tuple[str, ...]) -> dict[str, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=5))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, hosts))), critical=False)
    )
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"ca.crt": certificate, "tls.crt": certificate, "tls.key": key.private_bytes(*plain)}


def save(name: str, directory: str) -> None:
    """The keys of a Secret as files, for a program that reads it by the API."""
    data = api(f"{_own()}/secrets/{name}")["data"]
    Path(directory).mkdir(exist_ok=True)
    for key, value in data.items():
        Path(directory, key).write_bytes(base64.b64decode(value))


def post(path: str, body: str) -> None:
    need(call("POST", path.replace("NAMESPACE", _namespace()), json.loads(body)), f"{path} has it already")


def inject(secret: str, path: str) -> None:
    """Write the CA of a Secret into what calls a webhook, unless it is there."""
    bundle = api(f"{_own()}/secrets/{secret}")["data"]["ca.crt"]
    target = api(path)
    for one in target["webhooks"] if "webhooks" in target else [target["spec"]["conversion"]["webhook"]]:
        one["clientConfig"]["caBundle"] = bundle
    need(call("PUT", path, target), f"{path} was changed by somebody else")


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/ready") and state["failure"]:
            self._answer(503, state["failure"])
        elif self.path == "/metrics":
            self._answer(200, "stand_in_up 1\n")
        else:
            self._answer(200, f"{socket.gethostname()} {os.environ.get('STAND_IN', '')}\n")

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request, answer = review.pop("request"), {}
        if self.path.startswith("/convert"):
            converted = [one | {"apiVersion": request["desiredAPIVersion"]} for one in request["objects"]]
            answer = {"result": {"status": "Success"}, "convertedObjects": converted}
        elif self.path.startswith("/mutate"):
            patch = [{"op": "add", "path": "/spec/mutated", "value": True}]
            answer = {"allowed": True, "patchType": "JSONPatch"}
            answer["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        else:
            labels = request["object"]["metadata"].get("labels") or {}
            answer = {"allowed": "refused" not in labels, "status": {"message": "refused by the stand-in"}}
        self._answer(200, json.dumps(review | {"response": answer | {"uid": request["uid"]}}))

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def serve(port: str, tls: str | None = None) -> None:
    """Pages and webhooks; over TLS with the certificate in a directory, for which it waits."""
    while tls and not Path(tls, "tls.key").exists():
        time.sleep(0.3)
    server = Server(("", int(port)), Pages)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(tls, "tls.crt"), Path(tls, "tls.key"))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    starting.discard(f"{port} {tls}")
    server.serve_forever()


def grpc(port: str) -> None:
    """The health service of gRPC, as far as a kubelet's probe asks it."""
    server = socketserver.ThreadingTCPServer(("", int(port)), Health)
    server.daemon_threads = True
    server.serve_forever()


class Health(socketserver.StreamRequestHandler):
    """HTTP/2 with one answer to every request: frames are read by their lengths, their headers are not."""

    def handle(self) -> None:
        self.rfile.read(24)  # the preface
        self._send(4, 0, 0, b"")
        while head := self.rfile.read(9):
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream, content = int.from_bytes(head[5:], "big"), self.rfile.read(size)
            if kind == 4 and not flags & 1:
                self._send(4, 1, 0, b"")
            elif kind == 6 and not flags & 1:
                self._send(6, 1, 0, content)
            elif kind == 0 and flags & 1:  # the request is whole
                serving = b"\x08" + (b"\x02" if state["failure"] else b"\x01")
                self._send(1, 4, stream, b"\x88" + _header("content-type", "application/grpc"))
                self._send(0, 0, stream, b"\x00\x00\x00\x00\x02" + serving)
                self._send(1, 5, stream, _header("grpc-status", "0"))

    def _send(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        self.wfile.write(len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content)


def _header(name: str, value: str) -> bytes:
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def stay() -> None:
    threading.Event().wait()


def until(run: Callable[[], Any], end: float) -> None:
    while True:
        try:
            run()
            return
        except Exception as problem:  # whatever it is, it may pass
            state["failure"] = f"{type(problem).__name__}: {problem}"
            if time.monotonic() >= end:
                raise
            time.sleep(0.3)


def main(words: list[str]) -> None:
    # Process 1 of a container has no default action for SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    once = words[:1] == ["--once"]
    instructions = [shlex.split(line) for line in words[once:]]
    servers = [one for one in instructions if one[0] in SERVERS]
    for name, *arguments in servers:
        if name == "serve":
            starting.add(f"{arguments[0]} {arguments[1] if arguments[1:] else None}")
        threading.Thread(target=functools.partial(globals()[name], *arguments), daemon=True).start()
    for name, *arguments in (one for one in instructions if one[0] not in SERVERS):
        end = 0 if once else float("inf") if servers else time.monotonic() + PATIENCE
        until(lambda name=name, arguments=arguments: globals()[name](*arguments), end)
    until(lambda: need(not starting, f"not listening yet: {starting}"), float("inf"))
    state["failure"] = ""
    elections = [one for one in instructions if one[0] == "lead"]
    while servers:
        time.sleep(3)
        for _name, *arguments in elections:
            with contextlib.suppress(OSError, ValueError):
                lead(*arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
