"""A stand-in for the API of a controller, with its state in memory. serving.py has its server.

**This is not AWX.** It is written by hand after AWX's source, to check requests and to answer them as AWX would:

- fields, types, choices, references, uniqueness, surveys, schedules, credential inputs (see schema.py): 400,
- a job template whose playbook is not in the project: 400. A project has its playbooks after its first update,
- secrets are returned as `$encrypted$`,
- who may launch a job template, and which variables a launch may set (`_accept_or_ignore_variables` of AWX).

It has no jobs, no roles of organizations, no permissions but those of a system administrator and
the right to launch, and sends no notifications. The module and the requests of users in test_tenant_access.py also ran
once, by hand, against the API of AWX 24.6.1 with PostgreSQL and Redis, without a dispatcher. It answered like the
stand-in, but for what was added after it: role assignments, bulk jobs, the launch of workflows, the deletion of a job
template with active jobs, notifications. For the variables of jobs, AWX's own functions made them there, and none ran.
"""

from __future__ import annotations

import copy
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import schema
from .launches import ADMIN, DEFINITIONS, EXECUTE, LAUNCHED, READ, Launches
from .schema import Failure, Fields, Invalid

ROOT = Path(__file__).resolve().parents[4]
PLAYBOOKS = sorted(path.name for path in (ROOT / "awx/project").glob("*.yml"))
ADMIN_TOKEN = "token-of-an-administrator"
FIRST_ID = 11
RELATIONS = ("success_nodes", "failure_nodes", "always_nodes")
TRIGGERS_UPDATE = {"scm_url", "scm_branch", "scm_type", "scm_refspec"}


class StandIn(Launches):
    """The state, and what requests do to it. `requests` has every one, `refuse` maps paths to statuses."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, Fields]] = {kind: {} for kind in schema.KINDS}
        self.surveys: dict[int, Fields] = {}
        self.attached: dict[int, list[int]] = {}
        self.notified: dict[int, list[int]] = {}  # the notification templates for failed jobs of a job template
        self.roles: dict[int, dict[str, set[int]]] = {}
        self.users: dict[str, Fields] = {
            ADMIN_TOKEN: {"id": 1, "username": "root", "is_superuser": True, "teams": set()}
        }
        self.definitions: dict[int, Fields] = {}
        self.assignments: dict[int, Fields] = {}
        self.active_jobs: dict[int, list[int]] = {}  # by their job template
        self.requests: list[tuple[str, str, Any]] = []
        self.refuse: dict[tuple[str, str], int] = {}
        self.update_result = "successful"
        self._next = FIRST_ID
        self._lock = threading.Lock()
        for built_in in (schema.KUBERNETES, schema.AWS):
            self._store("credential_types", {**built_in, "managed": True, "description": ""})
        for number, (name, actions) in DEFINITIONS.items():
            self.definitions[number] = self._definition(number, name, actions, managed=True)

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        return [request for request in self.requests if request[0] != "GET"]

    def state(self) -> Fields:
        """Return a copy of the state, for restore()."""
        names = ("objects", "surveys", "attached", "notified", "roles", "users", "definitions", "assignments", "_next")
        return copy.deepcopy({name: getattr(self, name) for name in names})

    def restore(self, state: Fields) -> None:
        vars(self).update(copy.deepcopy(state))

    def named(self, kind: str, name: str) -> Fields:
        [found] = [one for one in self.objects[kind].values() if one["name"] == name]
        return found

    def names(self, kind: str) -> list[str]:
        return sorted(
            one.get("name") or one["identifier"] for one in self.objects[kind].values() if not one.get("managed")
        )

    def add(self, kind: str, /, **fields: Any) -> Fields:
        """Store an object that somebody created in the user interface."""
        return self._create(kind, {"description": "", **fields})

    def add_user(self, name: str, *teams: str) -> str:
        """Return the token of a new user who is in these teams."""
        number = len(self.users) + 1
        ids = {self.named("teams", team)["id"] for team in teams}
        self.users[f"token-of-{name}"] = {"id": number, "username": name, "is_superuser": False, "teams": ids}
        return f"token-of-{name}"

    def define_role(self, name: str, *actions: str) -> int:
        """Store a role that an administrator defined for job templates, and return its id."""
        self._next += 1
        self.definitions[self._next] = self._definition(self._next, name, set(actions), managed=False)
        return self._next

    def _definition(self, number: int, name: str, actions: set[str], *, managed: bool) -> Fields:
        permissions = [f"awx.{action}_jobtemplate" for action in sorted(actions)]
        return {"id": number, "name": name, "permissions": permissions, "managed": managed}

    def assign(self, definition: int, template: int, **holder: int) -> int:
        """Assign the role to a team or user as the API of role assignments does: in no role of the object."""
        self._next += 1
        self.assignments[self._next] = {
            "id": self._next,
            "role_definition": definition,
            "object_id": str(template),
        } | holder
        return self._next

    def handle(self, method: str, url: str, token: str, body: Any) -> Any:
        """Return the answer to a request. Raise a Failure otherwise."""
        parts = urlsplit(url)
        path = parts.path.removeprefix("/api/v2/").strip("/")
        with self._lock:
            self.requests.append((method, path, body))
            if status := self.refuse.get((method, path)):
                raise Failure(status, {"detail": "refused by the test"})
            user = self.users.get(token)
            if user is None:
                raise Failure(401, {"detail": "Authentication credentials were not provided."})
            try:
                return self._route(method, path.split("/"), dict(parse_qsl(parts.query)), user, body)
            except Invalid as error:
                field, _colon, message = str(error).partition(": ")
                raise Failure(400, {field: [message]}) from None

    def _route(self, method: str, path: list[str], query: dict[str, str], user: Fields, body: Any) -> Any:
        match (method, *path):
            case ("POST", "job_templates", number, "launch"):
                return self._launch(self._get("job_templates", int(number)), user, body or {})
            case ("POST", "workflow_job_templates", number, "launch"):
                return self._launch_workflow(self._get("workflow_job_templates", int(number)), user, body or {})
            case ("POST", "bulk", "job_launch"):
                return self._launch_bulk(user, body)
            case _ if not user["is_superuser"]:
                raise Failure(403, {"detail": "You do not have permission to perform this action."})
            case ("GET", "role_definitions"):
                return self._page(list(self.definitions.values()), query)
            case (_, "role_team_assignments" | "role_user_assignments" as kind, *number):
                return self._assignment(method, kind.split("_")[1], *map(int, number), query=query)
            case ("GET", kind) if kind in self.objects:
                return self._page(self._filtered(kind, query), query)
            case ("POST", kind) if kind in self.objects:
                return self._shown(kind, self._create(kind, body))
            case ("GET", "projects", number):
                return self._look_at_project(self._get("projects", int(number)))
            case ("GET", kind, number) if kind in self.objects:
                return self._shown(kind, self._get(kind, int(number)))
            case ("PATCH", kind, number):
                return self._shown(kind, self._change(kind, self._get(kind, int(number)), body))
            case ("DELETE", kind, number):
                return self._delete(kind, self._get(kind, int(number))["id"])
            case (_, "job_templates" | "workflow_job_templates", number, part):
                return self._part(method, self._get(path[0], int(number))["id"], part, query, body)
            case ("POST", "workflow_job_template_nodes", number, part):
                return self._part_of_node(self._get("workflow_job_template_nodes", int(number)), part, body)
            case (_, "roles", number, ("teams" | "users") as actors):
                return self._role(method, int(number), actors, query, body)
        raise Failure(404, {"detail": "The requested resource could not be found."})

    def _get(self, kind: str, number: int) -> Fields:
        if number not in self.objects[kind]:
            raise Failure(404, {"detail": "Not found."})
        return self.objects[kind][number]

    def _look_at_project(self, stored: Fields) -> Fields:
        """Return the project. Its update ends after the first look at it."""
        shown = self._shown("projects", stored)
        if stored["status"] == "pending":
            stored["status"] = self.update_result
        return shown

    def _filtered(self, kind: str, query: dict[str, str]) -> list[Fields]:
        same = {name: value for name, value in query.items() if name not in ("page", "page_size", "order_by")}
        if unknown := [name for name in same if name not in {*schema.KINDS[kind], "organization", "namespace"}]:
            raise Failure(400, {"detail": f"No such filter: {unknown[0]}"})
        found = self.objects[kind].values()
        return [self._shown(kind, one) for one in found if all(str(one.get(k)) == v for k, v in same.items())]

    def _page(self, found: list[Fields], query: dict[str, str]) -> Fields:
        size, number = min(int(query.get("page_size", 25)), 200), int(query.get("page", 1))
        more = len(found) > size * number
        return {
            "count": len(found),
            "next": f"?page={number + 1}" if more else None,
            "results": found[size * (number - 1) : size * number],
        }

    def _shown(self, kind: str, stored: Fields) -> Fields:
        shown = json.loads(json.dumps({**stored, "id": stored["id"]}))
        if kind == "credentials":
            fields = self._get("credential_types", stored["credential_type"])["inputs"].get("fields", [])
            secret = {field["id"] for field in fields if field.get("secret")}
            shown["inputs"] = {
                name: "$encrypted$" if name in secret else value for name, value in stored["inputs"].items()
            }
        if kind in LAUNCHED:
            shown["summary_fields"] = {
                "object_roles": {
                    "execute_role": {"id": stored["id"] + EXECUTE, "name": "Execute"},
                    "admin_role": {"id": stored["id"] + ADMIN, "name": "Admin"},
                    "read_role": {"id": stored["id"] + READ, "name": "Read"},
                },
            }
        if kind == "job_templates":
            attached = [self._get("credentials", one) for one in self.attached.get(stored["id"], [])]
            credentials = [{key: one[key] for key in ("id", "name", "description")} for one in attached]
            shown["summary_fields"]["credentials"] = credentials
        return shown

    def _store(self, kind: str, fields: Fields) -> Fields:
        stored = {**fields, "id": self._next}
        self.objects[kind][self._next] = stored
        self._next += 1
        return stored

    def _create(self, kind: str, fields: Fields) -> Fields:
        schema.check_fields(kind, fields, creates=True, exists=lambda other, number: number in self.objects[other])
        defaults: Fields = {"description": ""}
        if kind == "projects":
            defaults["status"] = "pending"
        if kind == "workflow_job_template_nodes":
            defaults = {"unified_job_template": None, "job_type": None} | {relation: [] for relation in RELATIONS}
        if kind == "job_templates":
            defaults |= dict.fromkeys((f"ask_{name}_on_launch" for name in schema.ASKED), False)
            defaults |= {"survey_enabled": False, "extra_vars": "", "allow_simultaneous": False}
            defaults["organization"] = self._get("projects", fields["project"])["organization"]
        fields = {**defaults, **fields}
        self._check(kind, fields)
        stored = self._store(kind, fields)
        if kind == "job_templates":
            self.attached[stored["id"]] = []
        if kind in LAUNCHED:
            for role in (EXECUTE, ADMIN, READ):
                self.roles[stored["id"] + role] = {"teams": set(), "users": set()}
        return stored

    def _change(self, kind: str, stored: Fields, fields: Fields) -> Fields:
        schema.check_fields(kind, fields, creates=False, exists=lambda other, number: number in self.objects[other])
        if stored.get("managed"):
            raise Failure(403, {"detail": "Modifications not allowed for managed credential types"})
        if kind == "credentials":
            kept = {k: stored["inputs"][k] for k, v in fields.get("inputs", {}).items() if v == "$encrypted$"}
            fields = {**fields, "inputs": {**fields.get("inputs", stored["inputs"]), **kept}}
        self._check(kind, {**stored, **fields}, stored["id"])
        if kind == "projects" and any(
            fields.get(name, stored.get(name)) != stored.get(name) for name in TRIGGERS_UPDATE
        ):
            stored["status"] = "pending"
        stored.update(fields)
        return stored

    def _check(self, kind: str, fields: Fields, own: int | None = None) -> None:
        same = ("name", *schema.UNIQUE[kind])
        for number, other in self.objects[kind].items():
            if number != own and all(other.get(name) == fields.get(name) for name in same):
                raise Invalid(f"__all__: {kind} with this {', '.join(same)} already exists.")
        if kind == "credential_types":
            schema.check_credential_type(fields.get("inputs", {}), fields.get("injectors", {}))
        if kind == "credentials":
            if not fields.get("organization"):
                raise Invalid("detail: Missing 'user', 'team', or 'organization'.")
            schema.check_inputs(fields["inputs"], self._get("credential_types", fields["credential_type"]))
        if kind == "workflow_job_template_nodes" and fields.get("job_type"):
            template = self._get("job_templates", fields["unified_job_template"])
            if not template["ask_job_type_on_launch"]:
                raise Invalid("job_type: Field is not configured to prompt on launch.")
        if kind == "schedules":
            schema.check_rrule(fields["rrule"])
        if kind == "job_templates":
            project = self._get("projects", fields["project"])
            if fields["playbook"] not in (PLAYBOOKS if project["status"] == "successful" else []):
                raise Invalid("playbook: Playbook not found for project.")
            if not isinstance(json.loads(fields["extra_vars"] or "{}"), dict):
                raise Invalid("extra_vars: not a dictionary")

    def _delete(self, kind: str, number: int) -> None:
        if jobs := self.active_jobs.get(number, []) if kind == "job_templates" else []:
            active = [{"id": str(job), "type": "job"} for job in jobs]
            raise Failure(409, {"error": "Resource is being used by running jobs.", "active_jobs": active})
        del self.objects[kind][number]
        if kind in LAUNCHED:
            for one in (EXECUTE, ADMIN, READ):
                self.roles.pop(number + one)
        if kind == "workflow_job_templates":
            nodes = self.objects["workflow_job_template_nodes"]
            for one in [one for one, node in nodes.items() if node["workflow_job_template"] == number]:
                del nodes[one]
        if kind == "job_templates":
            for node in self.objects["workflow_job_template_nodes"].values():
                if node["unified_job_template"] == number:
                    node["unified_job_template"] = None
            gone = [one for one, other in self.objects["schedules"].items() if other["unified_job_template"] == number]
            for one in gone:
                del self.objects["schedules"][one]
        if kind == "workflow_job_template_nodes":
            for node in self.objects[kind].values():
                for relation in RELATIONS:
                    node[relation] = [one for one in node[relation] if one != number]
        if kind == "credentials":
            for attached in self.attached.values():
                attached[:] = [one for one in attached if one != number]
        gone = ("object_id", str(number))
        holder = {"job_templates": gone, "workflow_job_templates": gone, "teams": ("team", number)}.get(kind, ("id", 0))
        self.assignments = {key: one for key, one in self.assignments.items() if one.get(holder[0]) != holder[1]}
        if kind == "teams":
            for role in self.roles.values():
                role["teams"].discard(number)

    def _part(self, method: str, number: int, part: str, query: dict[str, str], body: Any) -> Any:
        match (method, part):
            case ("GET", "survey_spec"):
                return self.surveys.get(number, {})
            case ("POST", "survey_spec"):
                schema.check_survey(body)
                self.surveys[number] = body
            case ("DELETE", "survey_spec"):
                self.surveys.pop(number, None)
            case ("GET", "credentials"):
                return self._page(
                    [self._shown("credentials", self._get("credentials", one)) for one in self.attached[number]], query
                )
            case ("POST", "credentials"):
                self._attach(number, body)
            case ("GET", "notification_templates_error"):
                ids = self.notified.get(number, [])
                return self._page([self._get("notification_templates", one) for one in ids], query)
            case ("POST", "notification_templates_error"):
                self.notified.setdefault(number, []).append(self._get("notification_templates", body["id"])["id"])
            case ("GET", "schedules"):
                return self._page(self._filtered("schedules", {"unified_job_template": str(number)}), query)
            case _:
                raise Failure(405, {"detail": f'Method "{method}" not allowed.'})
        return None

    def _part_of_node(self, node: Fields, part: str, body: Fields) -> Any:
        if part == "create_approval_template":
            if body.keys() != {"name", "description", "timeout"}:
                raise Invalid("name: This field is required.")
            kind = {"name": body["name"], "unified_job_type": "workflow_approval"}
            node |= {"unified_job_template": self._next, "summary_fields": {"unified_job_template": kind}}
            return {}
        other = self._get("workflow_job_template_nodes", body["id"])
        if body.get("disassociate"):
            node[part].remove(other["id"])
            return None
        if other["workflow_job_template"] != node["workflow_job_template"] or node["id"] in self._after(other):
            raise Invalid("Error: Cycle detected.")
        if any(other["id"] in node[one] for one in RELATIONS if one != part):
            raise Invalid("Error: Relationship not allowed.")
        node[part].append(other["id"])
        return None

    def _after(self, node: Fields) -> set[int]:
        """Return the node with all that run after it."""
        following = [self._get("workflow_job_template_nodes", one) for relation in RELATIONS for one in node[relation]]
        return {node["id"]}.union(*(self._after(one) for one in following))

    def _attach(self, number: int, body: Fields) -> None:
        credential = self._get("credentials", body["id"])
        if body.get("disassociate"):
            self.attached[number].remove(credential["id"])
            return
        types = [self._get("credentials", one)["credential_type"] for one in self.attached[number]]
        if credential["credential_type"] in types:
            raise Invalid("error: Cannot assign multiple credentials of this type.")
        self.attached[number].append(credential["id"])
