"""Typed, strict configuration: recipe, search space, runner."""

from ikd.config._domain import Domain, Prior
from ikd.config._home import home
from ikd.config._loading import (
    SweepFiles,
    field_names,
    load_recipe,
    load_runner,
    load_sweep,
    parse_sets,
    recipe_names,
)
from ikd.config._recipe import (
    ANCHORS,
    DRAWN,
    STUDENT_ALONE,
    Data,
    Detector,
    Recipe,
    Schedule,
    Split,
    Stage,
    Student,
    Teacher,
)
from ikd.config._runner import Runner
from ikd.config._schema import json_schema, write_schemas
from ikd.config._search import Asha, Budget, Hyperband, Median, Pbt, Sampler, Scheduler, Tpe
from ikd.config._section import Section
from ikd.config._space import SearchSpace
from ikd.config._stages import StagePlan, sequence_text
from ikd.config._terms import Attack, Distill, Reference

__all__ = [
    "ANCHORS",
    "DRAWN",
    "STUDENT_ALONE",
    "Asha",
    "Attack",
    "Budget",
    "Data",
    "Detector",
    "Distill",
    "Domain",
    "Hyperband",
    "Median",
    "Pbt",
    "Prior",
    "Recipe",
    "Reference",
    "Runner",
    "Sampler",
    "Schedule",
    "Scheduler",
    "SearchSpace",
    "Section",
    "Split",
    "Stage",
    "StagePlan",
    "Student",
    "SweepFiles",
    "Teacher",
    "Tpe",
    "field_names",
    "home",
    "json_schema",
    "load_recipe",
    "load_runner",
    "load_sweep",
    "parse_sets",
    "recipe_names",
    "sequence_text",
    "write_schemas",
]
