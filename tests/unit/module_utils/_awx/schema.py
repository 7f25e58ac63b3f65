"""What a controller accepts, after the serializers and models of AWX (commit e21dd0a of ansible/awx, October 2024).

Written by hand after `awx/api/serializers.py`, `awx/api/views/__init__.py`, `awx/main/models` and `awx/main/fields.py`:
the fields of each kind that can be written, their types and choices, and the checks of surveys, schedules, credential
types and credentials. An unknown field is an error here; AWX ignores it.
"""

from __future__ import annotations

import re
from typing import Any

Fields = dict[str, Any]
Kind = dict[str, Any]


class Failure(Exception):
    """An answer with a status other than 2xx."""

    def __init__(self, status: int, body: Fields) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


class Invalid(Exception):
    """A request that AWX answers with 400."""


def reference(kind: str, *, required: bool = False) -> Kind:
    return {"type": int, "reference": kind, "required": required}


def text(*, required: bool = False, choices: tuple[str, ...] = (), longest: int = 1024) -> Kind:
    return {"type": str, "required": required, "choices": choices, "longest": longest}


BOOL: Kind = {"type": bool}
NUMBER: Kind = {"type": int}
DICT: Kind = {"type": dict}
NAMED = {"name": text(required=True, longest=512), "description": text()}
ASKED = ("scm_branch", "diff_mode", "variables", "limit", "tags", "skip_tags", "job_type", "verbosity", "inventory",
         "credential", "execution_environment", "labels", "forks", "job_slice_count", "timeout",
         "instance_groups")  # fmt: skip

WORKFLOW_ASKED = ("variables", "inventory", "scm_branch", "limit", "labels", "skip_tags", "tags")

KINDS: dict[str, dict[str, Kind]] = {
    "organizations": {**NAMED, "max_hosts": NUMBER, "default_environment": reference("execution_environments")},
    "teams": {**NAMED, "organization": reference("organizations", required=True)},
    "credential_types": {**NAMED, "kind": text(required=True, choices=("cloud", "net")), "inputs": DICT,
                         "injectors": DICT},
    "credentials": {**NAMED, "organization": reference("organizations"), "user": NUMBER, "team": reference("teams"),
                    "credential_type": reference("credential_types", required=True), "inputs": DICT},
    "execution_environments": {**NAMED, "organization": reference("organizations"), "image": text(required=True),
                               "credential": reference("credentials"),
                               "pull": text(choices=("", "always", "missing", "never"))},
    "projects": {**NAMED, "organization": reference("organizations"), "local_path": text(),
                 "scm_type": text(choices=("", "git", "svn", "insights", "archive")), "scm_url": text(),
                 "scm_branch": text(longest=256), "scm_refspec": text(), "scm_clean": BOOL,
                 "scm_track_submodules": BOOL, "scm_delete_on_update": BOOL, "credential": reference("credentials"),
                 "timeout": NUMBER, "scm_update_on_launch": BOOL, "scm_update_cache_timeout": NUMBER,
                 "allow_override": BOOL, "default_environment": reference("execution_environments")},
    "inventories": {**NAMED, "organization": reference("organizations", required=True),
                    "kind": text(choices=("", "smart", "constructed")), "host_filter": text(), "variables": text(),
                    "prevent_instance_group_fallback": BOOL},
    "inventory_sources": {**NAMED, "inventory": reference("inventories", required=True),
                          "source": text(required=True, choices=("scm", "ec2", "openstack")), "source_path": text(),
                          "source_vars": text(), "scm_branch": text(), "credential": reference("credentials"),
                          "overwrite": BOOL, "overwrite_vars": BOOL, "timeout": NUMBER, "verbosity": NUMBER,
                          "limit": text(), "update_on_launch": BOOL, "update_cache_timeout": NUMBER,
                          "source_project": reference("projects")},
    "job_templates": {**NAMED, "job_type": text(choices=("run", "check")), "inventory": reference("inventories"),
                      "project": reference("projects", required=True), "playbook": text(required=True),
                      "scm_branch": text(), "forks": NUMBER, "limit": text(), "verbosity": NUMBER,
                      "extra_vars": text(longest=10**6), "job_tags": text(), "skip_tags": text(), "timeout": NUMBER,
                      "execution_environment": reference("execution_environments"), "survey_enabled": BOOL,
                      "become_enabled": BOOL, "diff_mode": BOOL, "allow_simultaneous": BOOL,
                      **{f"ask_{name}_on_launch": BOOL for name in ASKED}},
    "workflow_job_templates": {**NAMED, "extra_vars": text(), "organization": reference("organizations"),
                               "survey_enabled": BOOL, "allow_simultaneous": BOOL,
                               "inventory": reference("inventories"),
                               "limit": text(), "scm_branch": text(), "skip_tags": text(), "job_tags": text(),
                               **{f"ask_{name}_on_launch": BOOL for name in WORKFLOW_ASKED}},
    "workflow_job_template_nodes": {"identifier": text(longest=512), "extra_data": DICT,
                                    "workflow_job_template": reference("workflow_job_templates", required=True),
                                    "unified_job_template": reference("job_templates"),
                                    "job_type": text(choices=("run", "check")), "limit": text(),
                                    "all_parents_must_converge": BOOL},
    "schedules": {**NAMED, "unified_job_template": reference("job_templates", required=True),
                  "rrule": text(required=True, longest=10**4), "enabled": BOOL, "extra_data": DICT},
    "notification_templates": {**NAMED, "organization": reference("organizations", required=True),
                               "notification_type": text(required=True, choices=("email", "slack", "webhook")),
                               "notification_configuration": DICT},
}  # fmt: skip
# Together with the name, what must be unique.
UNIQUE = {
    "organizations": (),
    "teams": ("organization",),
    "credential_types": ("kind",),
    "credentials": ("organization", "credential_type"),
    "execution_environments": (),
    "projects": ("organization",),
    "inventories": ("organization",),
    "inventory_sources": ("inventory",),
    "job_templates": ("organization",),
    "workflow_job_templates": ("organization",),
    "workflow_job_template_nodes": ("identifier", "workflow_job_template"),
    "schedules": ("unified_job_template",),
    "notification_templates": ("organization",),
}
# What every controller has.
KUBERNETES = {
    "name": "OpenShift or Kubernetes API Bearer Token",
    "namespace": "kubernetes_bearer_token",
    "kind": "kubernetes",
    "inputs": {
        "fields": [
            {"id": "host", "label": "Endpoint", "type": "string"},
            {"id": "bearer_token", "label": "Token", "type": "string", "secret": True},
            {"id": "verify_ssl", "label": "Verify SSL", "type": "boolean", "default": True},
            {"id": "ssl_ca_cert", "label": "CA", "type": "string", "secret": True, "multiline": True},
        ],
        "required": ["host", "bearer_token"],
    },
}
AWS = {
    "name": "Amazon Web Services",
    "namespace": "aws",
    "kind": "cloud",
    "inputs": {
        "fields": [
            {"id": "username", "label": "Access Key", "type": "string"},
            {"id": "password", "label": "Secret Key", "type": "string", "secret": True},
            {"id": "security_token", "label": "STS Token", "type": "string", "secret": True},
        ],
        "required": ["username", "password"],
    },
}


def check_fields(kind: str, fields: Fields, *, creates: bool, exists: Any) -> None:
    """Raise Invalid for a field that is unknown, missing, of another type, too long, or refers to nothing."""
    known = KINDS[kind]
    for name in fields.keys() - known.keys():
        raise Invalid(f"{name}: not a field of {kind}")
    if creates and (missing := [name for name, one in known.items() if one.get("required") and not fields.get(name)]):
        raise Invalid(f"{missing[0]}: This field is required.")
    for name, value in fields.items():
        one = known[name]
        if value is None and "reference" in one and not one["required"]:
            continue
        if not _is(value, one["type"]):
            raise Invalid(f"{name}: {value!r} is not of the type {one['type'].__name__}")
        if one.get("choices") and value not in one["choices"]:
            raise Invalid(f"{name}: {value!r} is not a valid choice.")
        if len(str(value)) > one.get("longest", 10**6):
            raise Invalid(f"{name}: too long")
        if "reference" in one and not exists(one["reference"], value):
            raise Invalid(f"{name}: Invalid pk {value} - object does not exist.")


def check_credential_type(inputs: Fields, injectors: Fields) -> None:
    """Raise Invalid as CredentialTypeInputField and CredentialTypeInjectorField do."""
    if inputs.keys() - {"fields", "required"} or injectors.keys() - {"file", "env", "extra_vars"}:
        raise Invalid("inputs, injectors: additional properties are not allowed")
    allowed = {"type", "format", "choices", "id", "label", "help_text", "multiline", "secret", "default"}
    for field in inputs.get("fields", []):
        if (
            field.keys() - allowed
            or not {"id", "label"} <= field.keys()
            or field.get("type") not in ("string", "boolean")
        ):
            raise Invalid(f"inputs: {field}")
    names = {field["id"] for field in inputs.get("fields", [])} | {"tower.filename"}
    for templates in injectors.values():
        for value in templates.values():
            for used in re.findall(r"\{\{ *([\w.]+) *\}\}", value):
                if used not in names or (used == "tower.filename" and "template" not in injectors.get("file", {})):
                    raise Invalid(f"injectors: {used} is an undefined field")


def _is(value: object, of_type: type) -> bool:
    """Return whether it is of this type; true is no number."""
    return isinstance(value, of_type) and (of_type is bool or not isinstance(value, bool))


def check_inputs(inputs: Fields, credential_type: Fields) -> None:
    """Raise Invalid as CredentialInputField does."""
    types = {"string": str, "boolean": bool}
    known = {field["id"]: types[field.get("type", "string")] for field in credential_type["inputs"].get("fields", [])}
    for name, value in inputs.items():
        if name not in known or not _is(value, known[name]):
            raise Invalid(f"inputs: {name} is not an input of {credential_type['name']}, or of another type")
    if missing := [name for name in credential_type["inputs"].get("required", []) if name not in inputs]:
        raise Invalid(f"inputs: required for {credential_type['name']}: {missing[0]}")


def check_rrule(rule: str) -> None:
    """Raise Invalid as SchedulePreviewSerializer.validate_rrule does."""
    rules = re.findall(r"RULE:\S*", rule)
    if len(re.findall(r"DTSTART(?:;[^:]+)?:[0-9]+T[0-9]+Z?", rule)) != 1 or re.search(r"DTSTART:[0-9]+T[0-9]+ ", rule):
        raise Invalid("rrule: one DTSTART is required, and not a naive one")
    if not rules or any("INTERVAL" not in one or "SECONDLY" in one for one in rules):
        raise Invalid("rrule: INTERVAL required in rrule")


SURVEY_TYPES: dict[str, Any] = {"text": str, "textarea": str, "password": str, "multiplechoice": str,
                                "multiselect": str, "integer": int, "float": (float, int)}  # fmt: skip


def check_survey(survey: Fields) -> None:
    """Raise Invalid as JobTemplateSurveySpec._validate_spec_data does."""
    for name, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(survey.get(name), kind):
            raise Invalid(f"error: Field '{name}' is missing from survey spec.")
    if not survey["spec"]:
        raise Invalid("error: 'spec' doesn't contain any items.")
    variables = [question.get("variable") for question in survey["spec"]]
    if len(set(variables)) < len(variables):
        raise Invalid("error: 'variable' duplicated in survey question.")
    for question in survey["spec"]:
        _check_question(question)


def _check_question(question: Fields) -> None:
    for name, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
        if not isinstance(question.get(name), kind):
            raise Invalid(f"error: '{name}' missing from survey question.")
    if question["type"] not in SURVEY_TYPES:
        raise Invalid("error: not one of the allowed question types.")
    default = question.get("default", "")
    if default != "" and not isinstance(default, SURVEY_TYPES[question["type"]]):
        raise Invalid("error: Default value expected to be of the type.")
    for limit in ("min", "max"):
        if question.get(limit) is not None and not isinstance(question[limit], int):
            raise Invalid(f"error: The {limit} limit expected to be integer.")
    if question["type"] in ("multiplechoice", "multiselect"):
        if "choices" not in question:
            raise Invalid("error: must specify choices.")
        if any(one not in question["choices"].splitlines() for one in default.splitlines()):
            raise Invalid("error: Default choice must be answered from the choices listed.")


def answer_errors(question: Fields, answers: Fields) -> list[str]:
    """Return what SurveyJobTemplateMixin._survey_element_validation returns, for text and single choice."""
    variable = question["variable"]
    if variable not in answers:
        return [f"'{variable}' value missing"] if question["required"] else []
    value = answers[variable]
    if question["type"] == "multiplechoice":
        return (
            []
            if value in question["choices"].splitlines()
            else [f"Value {value} for '{variable}' expected to be one of"]
        )
    if not isinstance(value, str):
        return [f"Value {value} for '{variable}' expected to be a string."]
    if question.get("min") and len(value) < question["min"]:
        return [f"'{variable}' value {value} is too small"]
    if question.get("max") and len(value) > question["max"]:
        return [f"'{variable}' value {value} is too large"]
    return []
