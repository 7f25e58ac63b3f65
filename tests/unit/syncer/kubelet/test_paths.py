"""Paths of the kubelet API and their translation to the host's API."""

from urllib.parse import parse_qsl, quote_plus

import pytest
from tenantry_syncer.kubelet.paths import RejectedRequest, parse

POD = "/api/v1/namespaces/payments--dev/pods/web-x"
LOG, EXEC, ATTACH, FORWARD = (f"{POD}/{name}" for name in ("log", "exec", "attach", "portforward"))

TABLE = {
    "/containerLogs/shop/web/app": f"{LOG}?container=app",
    "/containerLogs/shop/web.v1/app?follow=true&previous=1&timestamps=true": (
        f"{LOG}?container=app&follow=true&previous=true&timestamps=true"
    ),
    "/containerLogs/shop/web/app?follow=false&previous=0": f"{LOG}?container=app",
    "/containerLogs/shop/web/app?tailLines=10&limitBytes=5&sinceSeconds=3": (
        f"{LOG}?container=app&tailLines=10&limitBytes=5&sinceSeconds=3"
    ),
    "/containerLogs/shop/web/app?sinceTime=2026-01-02T03%3A04%3A05%2B02%3A00": (
        f"{LOG}?container=app&sinceTime=2026-01-02T03%3A04%3A05%2B02%3A00"
    ),
    "/containerLogs/shop/web/app?stream=Stderr": f"{LOG}?container=app&stream=Stderr",
    "/containerLogs/shop/web/app?stream=All": f"{LOG}?container=app",
    "/containerLogs/shop/web/app?container=other&insecureSkipTLSVerifyBackend=true&pretty=1": f"{LOG}?container=app",
    "/exec/shop/web/app?command=sh&command=-c&command=a+b%26c&input=1&output=1&error=1": (
        f"{EXEC}?container=app&command=sh&command=-c&command=a%20b%26c&stdin=true&stdout=true&stderr=true"
    ),
    "/exec/shop/web/app?command=sh&input=1&output=1&error=1&tty=1": (
        f"{EXEC}?container=app&command=sh&stdin=true&stdout=true&tty=true"
    ),
    "/exec/shop/web/0f3c-1a/app?command=id&output=1": f"{EXEC}?container=app&command=id&stdout=true",
    "/exec/shop/web/app?command=id&output=1&input=0&dryRun=All&container=x": (
        f"{EXEC}?container=app&command=id&stdout=true"
    ),
    "/exec/shop/web/app?command=%FF%00&output=1": f"{EXEC}?container=app&command=%FF%00&stdout=true",
    "/attach/shop/web/app?input=1&output=1&command=id": f"{ATTACH}?container=app&stdin=true&stdout=true",
    "/attach/shop/web/0f3c-1a/app?error=1": f"{ATTACH}?container=app&stderr=true",
    "/portForward/shop/web": FORWARD,
    "/portForward/shop/web?port=80": f"{FORWARD}?ports=80",
    "/portForward/shop/web/0f3c-1a?port=80,443&port=53&name=x": f"{FORWARD}?ports=80&ports=443&ports=53",
}


@pytest.mark.parametrize("target", TABLE)
def test_parse_translates_target(target):
    assert parse("GET", target).host_target("payments--dev", "web-x") == TABLE[target]


def test_parse_returns_virtual_names():
    request = parse("POST", "/exec/shop/web.v1/app?output=1")
    assert (request.namespace, request.pod, request.kind, request.is_log) == ("shop", "web.v1", "exec", False)
    assert parse("GET", "/containerLogs/shop/web/app").is_log


def test_parse_keeps_bytes_of_command():
    command = "".join(chr(code) for code in range(1, 256)) + "é🙂;&=+%"
    target = parse("GET", f"/exec/a/b/c?output=1&command={quote_plus(command)}").host_target("n", "p")
    assert dict(parse_qsl(target.partition("?")[2]))["command"] == command


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "exec/a/b/c",
        "//exec/a/b/c",
        "https://x/exec/a/b/c",
        "*",
        "/run/shop/web/app",
        "/pods",
        "/runningpods/",
        "/metrics",
        "/healthz",
        "/logs/",
        "/checkpoint/shop/web/app",
        "/debug/pprof/profile",
        "/configz",
        "/cri/exec/abc",
        "/EXEC/shop/web/app?output=1",
        "/containerLogs/shop/web",
        "/containerLogs/shop/web/uid/app",
        "/containerLogs/shop/web/app/",
        "/exec/shop/web?output=1",
        "/exec/shop/web/u/app/more?output=1",
        "/exec/shop//app?output=1",
        "/exec/shop/../app?output=1",
        "/exec/shop/web%2F..%2Fx/app?output=1",
        "/exec/shop/web/%2e%2e/app?output=1",
        "/exec/shop/web/app%00?output=1",
        "/exec/shop/we b/app?output=1",
        "/exec/shop/Web/app?output=1",
        "/exec/shop/web/u:1/app?output=1",
        f"/exec/shop/{'a' * 254}/app?output=1",
        "/portForward/shop",
        "/portForward/shop/web/u/more",
        "/attach",
    ],
)
def test_parse_unknown_path_is_rejected(target):
    with pytest.raises(RejectedRequest) as caught:
        parse("GET", target)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/exec/shop/web/app?command=id", "at least 1 of stdin, stdout, stderr"),
        ("/attach/shop/web/app?tty=1", "at least 1 of stdin, stdout, stderr"),
        ("/containerLogs/shop/web/app?tailLines=x", "tailLines 'x': must be a whole number"),
        ("/containerLogs/shop/web/app?limitBytes=", "limitBytes ''"),
        ("/containerLogs/shop/web/app?sinceTime=yesterday", "sinceTime 'yesterday'"),
        ("/containerLogs/shop/web/app?stream=Both", "stream 'Both': must be one of Stdout, Stderr, All"),
        ("/portForward/shop/web?port=0", "port '0'"),
        ("/portForward/shop/web?port=80,", "port ''"),
        ("/portForward/shop/web?port=70000", "port '70000'"),
        ("/portForward/shop/web?port=٨٠", "must be a number from 1 to 65535"),
    ],
)
def test_parse_bad_value_is_rejected(target, says):
    with pytest.raises(RejectedRequest) as caught:
        parse("GET", target)
    assert caught.value.status == 400
    assert says in str(caught.value)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_parse_log_allows_only_get(method):
    with pytest.raises(RejectedRequest) as caught:
        parse(method, "/containerLogs/shop/web/app")
    assert caught.value.status == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"])
def test_parse_stream_allows_get_and_post(method):
    with pytest.raises(RejectedRequest) as caught:
        parse(method, "/exec/shop/web/app?output=1")
    assert caught.value.status == 405


@pytest.mark.parametrize("path", ["/metrics", "/metrics/cadvisor", "/metrics/resource", "/stats/summary"])
def test_parse_explains_that_nodes_have_no_metrics(path):
    with pytest.raises(RejectedRequest, match=r"metrics\.k8s\.io") as caught:
        parse("GET", path)
    assert caught.value.status == 404
