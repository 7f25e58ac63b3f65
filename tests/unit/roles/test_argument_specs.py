"""What a role documents is what it does: argument specs against defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).resolve().parents[3] / "roles").iterdir() if path.is_dir())
TYPES: dict[str, type] = {"str": str, "path": str, "int": int, "bool": bool, "dict": dict, "list": list, "raw": str}

role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    return load(role / "meta/argument_specs.yml")["argument_specs"]


def options(role: Path) -> dict[str, Any]:
    return {name: option for entry in entry_points(role).values() for name, option in entry["options"].items()}


@role
def test_every_option_has_its_default(role: Path) -> None:
    documented = {name: option.get("default") for name, option in options(role).items() if not option.get("required")}
    assert documented == load(role / "defaults/main.yml")


@role
def test_every_option_carries_the_name_of_its_role(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@role
def test_every_default_is_of_its_type(role: Path) -> None:
    for name, option in options(role).items():
        if "default" in option:
            # An int is what it says even where a bool, its subclass, would pass.
            assert option["default"].__class__ is TYPES[option["type"]], name
        if "choices" in option:
            assert option["default"] in option["choices"], name


@role
def test_every_option_says_what_it_is(role: Path) -> None:
    def check(where: str, specs: dict[str, Any]) -> None:
        for name, option in specs.items():
            assert option.get("description"), f"{where}{name}"
            assert option.get("type"), f"{where}{name}"
            check(f"{where}{name}.", option.get("options", {}))

    for entry, spec in entry_points(role).items():
        assert spec.get("short_description"), entry
        check(f"{entry}: ", spec["options"])


@role
def test_every_entry_point_is_a_task_file(role: Path) -> None:
    assert [entry for entry in entry_points(role) if not (role / "tasks" / f"{entry}.yml").is_file()] == []
