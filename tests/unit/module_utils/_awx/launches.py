"""Who may launch what in the stand-in, by roles and role assignments, and with which variables."""

from __future__ import annotations

import json
from typing import Any

from . import schema
from .schema import Failure, Fields, Invalid

EXECUTE, ADMIN, READ = 1000, 2000, 3000  # the ids of these roles, beyond that of their job template or workflow
# Roles that every controller has, and what they allow on a job template.
ADMIN_DEFINITION, EXECUTE_DEFINITION, READ_DEFINITION = 5, 6, 7
DEFINITIONS = {
    ADMIN_DEFINITION: ("JobTemplate Admin", {"view", "execute", "change", "delete"}),
    EXECUTE_DEFINITION: ("JobTemplate Execute", {"view", "execute"}),
    READ_DEFINITION: ("JobTemplate Read", {"view"}),
}
LAUNCHED = ("job_templates", "workflow_job_templates")


class Launches:
    """The part of the stand-in for access and launches. Its state and the rest of the API are in StandIn."""

    objects: dict[str, dict[int, Fields]]
    surveys: dict[int, Fields]
    roles: dict[int, dict[str, set[int]]]
    users: dict[str, Fields]
    definitions: dict[int, Fields]
    assignments: dict[int, Fields]
    _next: int

    def _get(self, kind: str, number: int) -> Fields:
        raise NotImplementedError

    def _page(self, found: list[Fields], query: dict[str, str]) -> Fields:
        raise NotImplementedError

    def _role(self, method: str, number: int, actors: str, query: dict[str, str], body: Any) -> Any:
        holders = self.roles[number][actors]
        if method == "GET":
            users = {user["id"]: {"id": user["id"], "username": user["username"]} for user in self.users.values()}
            known = users if actors == "users" else self.objects["teams"]
            return self._page([known[one] for one in sorted(holders)], query)
        if actors == "teams":
            self._get("teams", body["id"])
        (holders.discard if body.get("disassociate") else holders.add)(body["id"])
        return None

    def _assignment(self, method: str, kind: str, number: int = 0, *, query: dict[str, str]) -> Any:
        """List the assignments to teams or to users, or delete one. What roles have is shown here, not the reverse."""
        found = {one["id"]: one for one in self.assignments.values() if kind in one}
        if method == "DELETE":
            if number not in found:
                raise Failure(404, {"detail": "Not found."})
            return self.assignments.pop(number) and None
        by_role = {READ: READ_DEFINITION, EXECUTE: EXECUTE_DEFINITION, ADMIN: ADMIN_DEFINITION}
        for role, holders in self.roles.items():
            base = role // 1000 * 1000
            for holder in holders[f"{kind}s"]:
                one = {"id": role * 100 + holder, "role_definition": by_role[base], "object_id": str(role - base)}
                found[one["id"]] = {**one, kind: holder}
        names = {user["id"]: {"username": user["username"]} for user in self.users.values()}
        known = names if kind == "user" else self.objects["teams"]
        shown = [{**one, "summary_fields": {kind: dict(known[one[kind]])}} for one in found.values()]
        return self._page(shown, query)

    def _assigned(self, template: int, user: Fields) -> set[str]:
        """Return the permissions that assignments give the user."""
        return {
            permission
            for one in self.assignments.values()
            if one["object_id"] == str(template) and (one.get("team") in user["teams"] or one.get("user") == user["id"])
            for permission in self.definitions[one["role_definition"]]["permissions"]
        }

    def _launch(self, template: Fields, user: Fields, body: Fields) -> Fields:
        """Return the variables of the job, after JobTemplateLaunch and SurveyJobTemplateMixin."""
        if not self._may_launch(template, user):
            raise Failure(403, {"detail": "You do not have permission to perform this action."})
        variables, ignored = self._variables(template, dict(body.get("extra_vars", {})))
        return {"job": self._next, "extra_vars": json.dumps(variables), "ignored_fields": {"extra_vars": ignored}}

    def _may_launch(self, template: Fields, user: Fields) -> bool:
        roles = [self.roles[template["id"] + role] for role in (EXECUTE, ADMIN)]
        may = any(user["teams"] & role["teams"] or user["id"] in role["users"] for role in roles)
        return may or user["is_superuser"] or "awx.execute_jobtemplate" in self._assigned(template["id"], user)

    def _variables(self, template: Fields, given: Fields) -> tuple[Fields, Fields]:
        """Return the variables of a job or workflow job, and those that its template does not accept."""
        survey = self.surveys.get(template["id"], {}) if template["survey_enabled"] else {}
        questions = survey.get("spec", [])
        if errors := [text for question in questions for text in schema.answer_errors(question, given)]:
            raise Failure(400, {"variables_needed_to_start": errors})
        asked = {question["variable"] for question in questions}
        if template.get("ask_variables_on_launch"):
            asked |= given.keys()
        variables = json.loads(template["extra_vars"] or "{}")
        variables |= {question["variable"]: question["default"] for question in questions if "default" in question}
        variables |= {name: value for name, value in given.items() if name in asked}
        return variables, {name: value for name, value in given.items() if name not in asked}

    def _launch_workflow(self, workflow: Fields, user: Fields, body: Fields) -> Fields:
        """Return the variables of its jobs. Unlike a job template, a workflow refuses what it does not ask for."""
        if not self._may_launch(workflow, user):
            raise Failure(403, {"detail": "You do not have permission to perform this action."})
        variables, ignored = self._variables(workflow, dict(body.get("extra_vars", {})))
        if ignored:
            raise Failure(400, {"extra_vars": [f"Variables {', '.join(ignored)} are not allowed on launch."]})
        return {
            "workflow_job": self._next,
            "jobs": self._jobs(workflow, variables),
            "extra_vars": json.dumps(variables),
        }

    def _launch_bulk(self, user: Fields, body: Fields) -> Fields:
        """Return the variables of the jobs: a workflow job around what the user may launch, with variables of its own.

        After WorkflowJobNode.get_job_kwargs: these replace those of a job template, whatever it asks for. A workflow
        accepts only those that it asks for. The user must be a member of an organization: here, all users are.
        """
        jobs = []
        for one in body["jobs"]:
            kind = next((kind for kind in LAUNCHED if one["unified_job_template"] in self.objects[kind]), LAUNCHED[0])
            template = self._get(kind, one["unified_job_template"])
            if not self._may_launch(template, user):
                raise Invalid("__all__: not found or you don't have permissions to access it")
            given, outer = dict(one.get("extra_data", {})), dict(body.get("extra_vars", {}))
            if kind == "job_templates":
                jobs.append(self._variables(template, given)[0] | outer)
            else:
                jobs += self._jobs(template, self._variables(template, given | outer)[0])
        return {"jobs": jobs}

    def _jobs(self, workflow: Fields, variables: Fields) -> list[Fields]:
        """Return the variables of the jobs of a workflow. Those of the workflow replace those of a job template."""
        nodes = self.objects["workflow_job_template_nodes"].values()
        numbers = [one["unified_job_template"] for one in nodes if one["workflow_job_template"] == workflow["id"]]
        templates = [self.objects["job_templates"][one] for one in numbers if one in self.objects["job_templates"]]
        return [json.loads(one["extra_vars"] or "{}") | variables for one in templates]
