"""The JSON schemas for editors: up to date, true of every shipped file, and strict about wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from ikd.config import field_names, json_schema, load_sweep, write_schemas
from ikd.config.document import read_yaml
from ikd.config.schema import Kind

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = {"space": ROOT / "search_spaces", "recipe": ROOT / "ikd" / "recipes", "runner": ROOT / "runners"}
FILES = [(kind, path) for kind, folder in FOLDERS.items() for path in sorted(folder.glob("*.yaml"))]


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    schemas = {kind: json_schema(kind) for kind in get_args(Kind)}
    for schema in schemas.values():
        jsonschema.Draft7Validator.check_schema(schema)
    return {kind: jsonschema.Draft7Validator(schema) for kind, schema in schemas.items()}


def test_the_written_schemas_are_up_to_date(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path / "schema"):
        told = "make them anew: ikd space schema --to docs/schema"
        assert (ROOT / "docs" / "schema" / path.name).read_text(encoding="utf-8") == path.read_text("utf-8"), told


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[f"{kind}-{path.stem}" for kind, path in FILES])
def test_every_shipped_file_fits(validators: dict[str, Any], kind: str, path: Path) -> None:
    assert [error.message for error in validators[kind].iter_errors(read_yaml(path).data)] == []


@pytest.mark.parametrize("kind", ["space", "runner"])
def test_shipped_files_name_their_schema(kind: str) -> None:
    first = f"# yaml-language-server: $schema=../docs/schema/{kind}.json"
    for path in FOLDERS[kind].glob("*.yaml"):
        assert path.read_text().splitlines()[0] == first, path


SPACE = "recipe: drawn_r18\nparameters:\n"
RIGHT = [
    ("space", SPACE + "  distill.host: {choice: {feature: fgd, mask: mgd}, prior: {around: mask}}"),
    ("space", SPACE + "  seed: {log_int: [1, 8], factor: 2, when: {any: [{a: 1}, {not: {b: [1, 2]}, c: x}]}}"),
    ("space", SPACE + "  student.arguments.base_channels: {int: [8, 16], step: 8}\n  seed: null"),
    ("space", "include: [other.yaml]\nset: {student.overrides.bbox_head.stacked_convs: 2, schedule.epochs: 3}"),
    ("space", "recipe: a\nconstraints: [attack.step < attack.eps]\nscheduler: {none: {}}\ncosts: [gflops]"),
    ("space", "recipe: a\nscheduler: auto\nsampler: {tpe: {}}"),
    ("space", "recipe: a\nscheduler: {hopeless: {rank: 1}}\nsampler: random"),
    ("recipe", "base: drawn_r18\nstudent: {inherit: false}\nteachers: {sequence: [a, {teacher: b, share: 0.5}]}"),
    ("runner", "trial: {gpus: 0.5}\nstudy: postgresql://user@host/database"),
]
WRONG = [
    ("space", "parameters: {}", "is not valid under any of the given schemas"),
    ("space", SPACE + "  augment.noise.sigm: {uniform: [0, 1]}", "'augment.noise.sigm' does not match any"),
    ("space", SPACE + "  schedule.epochs: {int: [1, 2]}", "'schedule.epochs' does not match any"),
    ("space", SPACE + "  seed: {int: [1, 2, 3]}", "is not valid under any"),
    ("space", SPACE + "  seed: {integer: [1, 2]}", "is not valid under any"),
    ("space", SPACE + "  seed: {choice: []}", "is not valid under any"),
    ("space", SPACE + "  seed: {log_int: [1, 2], factor: 1}", "is not valid under any"),
    ("space", SPACE + "  seed: {choice: [1], when: {any: {a: 1}}}", "is not valid under any"),
    ("space", "recipe: a\nscheduler: {asha: {}, none: {}}", "has too many properties"),
    ("space", "recipe: a\nscheduler: {}", "should be non-empty"),
    ("space", "recipe: a\nscheduler: ash", "'ash' does not match"),
    ("space", "recipe: a\nset: {seed: x}", "'x' is not of type 'integer'"),
    ("space", "recipe: a\nset: {seeds: 1}", "'seeds' does not match any"),
    ("space", "recipe: a\nbudget: {target: 40}", "is not valid under any"),
    ("recipe", "seed: 1", "is not valid under any of the given schemas"),
    ("recipe", "base: a\ndistill: {host: fdg}", "'fdg' is not one of"),
    ("recipe", "base: a\naugment: {noise: {sigma: -1}}", "-1 is less than the minimum of 0"),
    ("runner", "concurency: 2", "Additional properties are not allowed"),
    ("runner", "concurrency: 0", "0 is less than the minimum of 1"),
]


@pytest.mark.parametrize(("kind", "text"), RIGHT)
def test_what_is_right_fits(validators: dict[str, Any], kind: str, text: str) -> None:
    assert [error.message for error in validators[kind].iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(("kind", "text", "message"), WRONG)
def test_what_is_wrong_does_not_fit(validators: dict[str, Any], kind: str, text: str, message: str) -> None:
    messages = [error.message for error in validators[kind].iter_errors(yaml.safe_load(text))]
    assert any(message in one for one in messages), messages


def test_every_searchable_field_is_offered_with_its_description() -> None:
    schema = json_schema("space")
    offered = schema["properties"]["parameters"]["properties"]
    assert set(offered) < set(schema["properties"]["set"]["properties"])
    assert {"augment.noise.sigma", "teachers.sequence", "distill.fgd", "seed"} <= set(offered)
    assert set(offered).isdisjoint({"name", "device", "schedule.epochs", "data.root"})
    assert set(field_names()) <= set(schema["properties"]["set"]["properties"])
    assert all(field["description"] for field in offered.values())


def test_descriptions_are_those_of_the_types() -> None:
    for schema in map(json_schema, get_args(Kind)):
        condition = schema.get("$defs", {}).pop("Condition", None)  # says what it is itself
        assert condition is None or condition["description"]
        for section in [schema, *schema.get("$defs", {}).values()]:
            for name, field in section.get("properties", {}).items():
                assert field.get("description") or field == {"$ref": "#/$defs/Condition"}, name


def test_a_shipped_space_is_offered_all_that_it_searches() -> None:
    offered = json_schema("space")["properties"]["parameters"]["properties"]
    for path in FOLDERS["space"].glob("*.yaml"):
        assert set(load_sweep(path).space.parameters) <= set(offered), path
