# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Objects of a controller as they are wanted: fields, references to other objects, surveys, access. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

ORGANIZATION = "organization"
CREDENTIAL_TYPE = "credential_type"
CREDENTIAL = "credential"
EXECUTION_ENVIRONMENT = "execution_environment"
TEAM = "team"
PROJECT = "project"
INVENTORY = "inventory"
INVENTORY_SOURCE = "inventory_source"
JOB_TEMPLATE = "job_template"
WORKFLOW = "workflow_job_template"
SCHEDULE = "schedule"
# What the module only looks up: what an administrator created, and a credential type that the controller has.
FOREIGN_CREDENTIAL = "existing credential"
BUILT_IN_TYPE = "built-in credential type"
NOTIFICATION = "existing notification template"

ENDPOINTS = {
    ORGANIZATION: "organizations",
    CREDENTIAL_TYPE: "credential_types",
    CREDENTIAL: "credentials",
    EXECUTION_ENVIRONMENT: "execution_environments",
    TEAM: "teams",
    PROJECT: "projects",
    INVENTORY: "inventories",
    INVENTORY_SOURCE: "inventory_sources",
    JOB_TEMPLATE: "job_templates",
    WORKFLOW: "workflow_job_templates",
    SCHEDULE: "schedules",
    FOREIGN_CREDENTIAL: "credentials",
    BUILT_IN_TYPE: "credential_types",
    NOTIFICATION: "notification_templates",
}
# The fields that identify an object besides its name. Names of the others are unique in the whole controller.
SCOPES = {
    CREDENTIAL: ("organization", "credential_type"),
    TEAM: ("organization",),
    PROJECT: ("organization",),
    INVENTORY: ("organization",),
    INVENTORY_SOURCE: ("inventory",),
    WORKFLOW: ("organization",),
    SCHEDULE: ("unified_job_template",),
}

# At the end of the description of whatever the module created. It changes and deletes nothing else.
MARK = "(managed by tenantry.kube)"
REDACTED = "<redacted>"
# What a controller returns instead of a secret.
ENCRYPTED = "$encrypted$"


class Ref(NamedTuple):
    """Another object, as the value of a field that takes an id."""

    kind: str
    name: str


class Node(NamedTuple):
    """A step of a workflow: a job template, or an approval if that is None."""

    identifier: str
    template: Ref | None
    job_type: str | None = None


@dataclass(frozen=True)
class Desired:
    """An object with the fields that the module owns.

    `secrets` names the secret fields of `inputs`. The others are for job templates: the survey, the credentials of its
    jobs, who is notified if one fails, and the team that may launch it. Of one with a `reader`, only that team sees it
    and nobody may launch it. Without both, who may launch it is left as it is. `nodes` are for workflows: each runs
    after the one before it succeeded.
    """

    kind: str
    name: str
    fields: dict[str, Any]
    secrets: frozenset[str] = frozenset()
    survey: dict[str, Any] | None = None
    credentials: tuple[Ref, ...] = ()
    notifications: tuple[Ref, ...] = ()
    team: Ref | None = None
    reader: Ref | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.name)

    def references(self) -> Iterator[Ref]:
        """Yield the objects that must exist before this one."""
        yield from (value for value in self.fields.values() if isinstance(value, Ref))
        yield from self.credentials
        yield from (node.template for node in self.nodes if node.template)
        yield from (team for team in (self.team, self.reader) if team)


def described(text: str) -> str:
    """Return a description with the mark."""
    return f"{text} {MARK}"


def is_marked(live: dict[str, Any]) -> bool:
    """Return whether the module created the object."""
    return str(live.get("description") or "").endswith(MARK)


def differing(wanted: dict[str, Any], live: dict[str, Any], secrets: frozenset[str]) -> list[str]:
    """Return the fields whose values differ. A field that this version of the controller does not have never does.

    Secrets cannot be compared: only whether the object has them.
    """
    return sorted(
        field for field, value in wanted.items() if field in live and not _same(field, value, live[field], secrets)
    )


def _same(field: str, wanted: Any, live: Any, secrets: frozenset[str]) -> bool:
    if field == "inputs" and secrets and isinstance(live, dict):
        return {**wanted, **dict.fromkeys(secrets & wanted.keys(), ENCRYPTED)} == live
    if field == "extra_vars":
        return _parsed(wanted) == _parsed(live)
    return wanted == live


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def redacted(fields: dict[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    """Return the fields for a diff, without the values of secrets."""
    if not secrets or not isinstance(fields.get("inputs"), dict):
        return fields
    inputs = {key: REDACTED if key in secrets else value for key, value in fields["inputs"].items()}
    return {**fields, "inputs": inputs}
