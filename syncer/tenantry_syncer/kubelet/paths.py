"""Translate the kubelet API's paths of streams to paths of the host's API. Pure.

The kubelet API has other parameter names (`input`, `port`) than the Kubernetes API (`stdin`, `ports`). Unknown paths
are rejected, unknown query keys dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

Query = list[tuple[str, str]]

SUBRESOURCES = {"containerLogs": "log", "exec": "exec", "attach": "attach", "portForward": "portforward"}
# Names of the standard streams in the kubelet API and in the Kubernetes API, in the latter's order.
STREAMS = {"input": "stdin", "output": "stdout", "error": "stderr", "tty": "tty"}
LOG_FLAGS = ("follow", "previous", "timestamps")
LOG_NUMBERS = ("tailLines", "limitBytes", "sinceSeconds")
LOG_STREAMS = ("Stdout", "Stderr", "All")

# All virtual nodes have the syncer's address, so their metrics would be counted once for each node.
_OF_A_NODE = ("metrics", "stats")
_NO_NODE_METRICS = (
    "not served here: virtual nodes share one address, and a request does not name its node. "
    "Use the API metrics.k8s.io."
)

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_UID = re.compile(r"[A-Za-z0-9-]{1,64}")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_TIME = re.compile(r"[0-9Tt:.Zz+-]{1,64}")


class RejectedRequest(Exception):
    """A request that is not passed on, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class StreamRequest:
    """A request of the virtual API server for a stream; `query` is already translated for the host's API."""

    kind: str
    namespace: str
    pod: str
    query: tuple[tuple[str, str], ...]

    @property
    def is_log(self) -> bool:
        """Whether the request is for a log, a plain response; the other kinds upgrade the connection."""
        return self.kind == "containerLogs"

    def host_target(self, namespace: str, pod: str) -> str:
        """Return the request target at the host's API for the host's namespace and pod."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/{SUBRESOURCES[self.kind]}"
        query = urlencode(self.query, quote_via=quote, safe="", errors="surrogateescape")
        return f"{path}?{query}" if query else path


def parse(method: str, target: str) -> StreamRequest:
    """Parse a request to the kubelet API. Raises RejectedRequest with 404, 405 or 400."""
    path, _mark, text = target.partition("?")
    kind, _slash, rest = path.removeprefix("/").partition("/")
    if kind in _OF_A_NODE:
        raise RejectedRequest(404, f"path {path[:200]!r}: {_NO_NODE_METRICS}")
    if not path.startswith("/") or kind not in SUBRESOURCES:
        raise RejectedRequest(404, f"path {path[:200]!r}: not served here. Supported: {', '.join(SUBRESOURCES)}.")
    namespace, pod, container = _names(kind, rest.split("/"))
    if method not in (("GET",) if kind == "containerLogs" else ("GET", "POST")):
        raise RejectedRequest(405, f"method {method}: not allowed for {kind}")
    query = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
    return StreamRequest(kind, namespace, pod, tuple(_translate(kind, container, query)))


def _names(kind: str, parts: list[str]) -> tuple[str, str, str]:
    """Return namespace, pod and container ('' for portForward). The optional UID is ignored, as in kubelets."""
    fixed = 2 if kind == "portForward" else 3
    has_uid = kind != "containerLogs" and len(parts) == fixed + 1
    if has_uid and _UID.fullmatch(parts[2]):
        del parts[2]
    if len(parts) != fixed or not all(len(part) <= 253 and _NAME.fullmatch(part) for part in parts):
        raise RejectedRequest(
            404, f"path of {kind}: must consist of the names of namespace, pod{'' if fixed == 2 else ' and container'}"
        )
    return parts[0], parts[1], parts[2] if fixed == 3 else ""


def _translate(kind: str, container: str, query: Query) -> Query:
    if kind == "containerLogs":
        return [("container", container), *_log_query(query)]
    if kind == "portForward":
        return _ports(query)
    commands = [("command", value) for key, value in query if key == "command" and kind == "exec"]
    return [("container", container), *commands, *_streams(query)]


def _log_query(query: Query) -> Query:
    given = dict(reversed(query))  # the first value of a key counts, as in the kubelet
    result = [(key, "true") for key in LOG_FLAGS if given.get(key, "false").lower() not in ("false", "0")]
    for key in LOG_NUMBERS:
        if key in given:
            result.append((key, _checked(key, given[key], _INTEGER, "a whole number")))
    if "sinceTime" in given:
        result.append(("sinceTime", _checked("sinceTime", given["sinceTime"], _TIME, "a time as in RFC 3339")))
    stream = given.get("stream", "All")
    if stream not in LOG_STREAMS:
        raise RejectedRequest(400, f"stream {stream[:64]!r}: must be one of {', '.join(LOG_STREAMS)}")
    return result + ([("stream", stream)] if stream != "All" else [])  # unknown before Kubernetes 1.32


def _checked(key: str, value: str, rule: re.Pattern[str], expected: str) -> str:
    if not rule.fullmatch(value):
        raise RejectedRequest(400, f"{key} {value[:64]!r}: must be {expected}")
    return value


def _streams(query: Query) -> Query:
    wanted = {key for key, value in query if key in STREAMS and value in ("1", "true")}
    if not wanted - {"tty"}:
        raise RejectedRequest(400, "you must specify at least 1 of stdin, stdout, stderr")
    if "tty" in wanted:  # a terminal has one output; the kubelet drops stderr as well
        wanted.discard("error")
    return [(host, "true") for key, host in STREAMS.items() if key in wanted]


def _ports(query: Query) -> Query:
    ports = [port for key, value in query if key == "port" for port in value.split(",")]
    for port in ports:
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            raise RejectedRequest(400, f"port {port[:64]!r}: must be a number from 1 to 65535")
    return [("ports", port) for port in ports]
