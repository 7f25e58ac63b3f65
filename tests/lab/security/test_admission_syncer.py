"""What a syncer that was taken over makes of nothing: every field in every operation, with more rights than it has."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..people import await_policy
from .hosted import DENIED, Change, Host, host_of, merged
from .sweep import APPLY, JSON_PATCH, MERGE, Request, answer_of
from .syncer_changes import COPIES, FIELDS, MAY, OTHER, PATHS, Field, copy_of, hashed

OPERATIONS = ("POST", "PUT", MERGE, JSON_PATCH, APPLY)


@pytest.fixture(scope="module")
def host(platform: Path) -> Iterator[Host]:
    with host_of(platform) as found:
        for kind in COPIES:
            answer = answer_of(found.syncer, Request("POST", PATHS[kind], "application/json", kind), copy_of(kind))
            assert answer[0] == 201, answer
        yield found


def change(host: Host, field: Field, operation: str) -> Change:
    """The field as one of the operations asks for it."""
    path = f"{PATHS[field.kind]}/{hashed('there')}"
    if operation == "POST":
        return Change("POST", PATHS[field.kind], patched(copy_of(field.kind, "new"), field.patch))
    if operation == MERGE:
        return merged(path, field.patch)
    if operation == JSON_PATCH:
        return Change("PATCH", path, [*steps(field.patch, host.admin._json("get", path))], JSON_PATCH)
    if operation == APPLY:
        return Change("PATCH", path, patched(copy_of(field.kind), field.patch), APPLY)
    return Change("PUT", path, patched(host.admin._json("get", path), field.patch))


def patched(obj: dict, patch: dict) -> dict:
    """RFC 7396."""
    found = copy.deepcopy(obj)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = patched(found.get(key) if isinstance(found.get(key), dict) else {}, value)
        else:
            found[key] = value
    return found


def takes_away(patch: Any) -> bool:
    return patch is None or (isinstance(patch, dict) and any(map(takes_away, patch.values())))


def steps(patch: dict, there: dict, path: str = "") -> Iterator[dict]:
    """The same as a JSON patch."""
    for key, value in patch.items():
        at = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if value is None:
            if key in there:
                yield {"op": "remove", "path": at}
        elif isinstance(value, dict) and isinstance(there.get(key), dict):
            yield from steps(value, there[key], at)
        else:
            yield {"op": "add", "path": at, "value": patched({}, value) if isinstance(value, dict) else value}


def asked(host: Host, change: Change) -> tuple[int, str]:
    query = "?dryRun=All" + ("&fieldManager=probe&force=true" if change.content == APPLY else "")
    request = Request(change.method, change.path + query, None if change.body is None else change.content, change.path)
    return answer_of(host.syncer, request, change.body)


@pytest.mark.parametrize("what", FIELDS)
def test_a_field_is_refused_in_every_operation(host: Host, what: str) -> None:
    """By Kubernetes itself (422), where it lets nobody change the field; in a new object, by the policy."""
    field = FIELDS[what]
    for operation in OPERATIONS:
        if operation == APPLY and takes_away(field.patch):
            continue  # it leaves what others have set
        status, text = asked(host, change(host, field, operation))
        by_policy = status == 403 and DENIED in text and "request.kind" not in text
        assert by_policy or (status == 422 and operation != "POST"), (operation, status, text)
        if operation == "POST":
            assert field.words in text, text


@pytest.mark.parametrize("what", OTHER)
def test_a_syncer_is_refused(host: Host, what: str) -> None:
    change, words = OTHER[what]
    status, text = asked(host, change)
    assert (status, DENIED in text, words in text) == (403, True, True), text


@pytest.mark.parametrize("what", MAY)
def test_a_syncer_may_what_it_does(host: Host, what: str) -> None:
    status, text = asked(host, MAY[what])
    assert status in (200, 201), text


def test_without_the_policy_all_of_it_goes_through(host: Host) -> None:
    """The mutation control: what Kubernetes itself lets pass is refused by nothing but the policies."""
    with host.without("tenantry-syncers", "tenantry-objects"):
        await_policy(lambda: asked(host, OTHER["a secret of somebody"][0])[0] == 200)
        await_policy(lambda: asked(host, OTHER["the join token"][0])[0] == 200)
        refused = {
            (what, operation): answer
            for what, field in FIELDS.items()
            for operation in OPERATIONS
            if (answer := asked(host, change(host, field, operation)))[0] not in (200, 201, 422)
        }
        assert refused == {}
        new = {what: asked(host, change(host, field, "POST"))[0] for what, field in FIELDS.items()}
        assert {what for what, status in new.items() if status != 201} == set()
        others = {what: asked(host, change) for what, (change, _words) in OTHER.items()}
        assert {what: text for what, (status, text) in others.items() if status not in (200, 201)} == {}
    await_policy(lambda: asked(host, OTHER["a secret of somebody"][0])[0] == 403)
