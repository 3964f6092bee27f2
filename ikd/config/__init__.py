"""Typed, strict configuration: recipe, search space, runner."""

from ikd.config.recipe.loss_section import BUILDER_KEYWORDS, Term
from ikd.config.section import NonNegative, Positive, Probability, Section, Weight

# isort: split
# What follows loads the sections of other packages, which take the names above from here.
from ikd.config.comparing import ABSENT, changes, differences
from ikd.config.document import Location, dotted
from ikd.config.files import SweepFiles, load_recipe, load_runner, load_space, load_sweep, parse_sets, recipe_names
from ikd.config.paths import from_here
from ikd.config.recipe.effective import LATER, alters_pixels, compares_maps, sees_unlabelled
from ikd.config.recipe.fields import field_names, loss_weights
from ikd.config.recipe.hosts import HOSTS
from ikd.config.recipe.images import OPERATIONS, CopyPaste, Cutout, Input, Joint
from ikd.config.recipe.mixing import BatchScale, MixUp, Mosaic, MultiScale, Pad, Photometric
from ikd.config.recipe.recipe import Recipe, StagePlan
from ikd.config.recipe.responses import HOSTS_BESIDE, RESPONSES
from ikd.config.recipe.schedule import Ema, Schedule
from ikd.config.recipe.sections import (
    ANCHORS,
    DRAWN,
    UNDISTILLED,
    Anchor,
    Data,
    Detector,
    Split,
    Stage,
    Student,
    Teacher,
)
from ikd.config.recipe.stages import sequence_text
from ikd.config.recipe.terms import (
    LOSSES,
    MAX_EPS,
    RESPONSE_LOSSES,
    STUDENT_ALONE,
    Attack,
    Augment,
    Crop,
    Distill,
    MaskingEnhancement,
    Noise,
    Reference,
)
from ikd.config.runner import Runner
from ikd.config.schema import json_schema, write_schemas
from ikd.config.showing import recipe_groups, recipe_lines
from ikd.config.space.confirm import RIVALS, Shares, room_fault, shares_of
from ikd.config.space.domain import Domain, Prior
from ikd.config.space.search import (
    Asha,
    Budget,
    Confirm,
    Hopeless,
    Hyperband,
    Median,
    Objective,
    Pbt,
    Sampler,
    Scheduler,
    Tpe,
)
from ikd.config.space.space import SearchSpace
from ikd.config.space.stopping import Chosen, chosen_scheduler
from ikd.home import home

__all__ = [
    "ABSENT",
    "ANCHORS",
    "BUILDER_KEYWORDS",
    "DRAWN",
    "HOSTS",
    "HOSTS_BESIDE",
    "LATER",
    "LOSSES",
    "MAX_EPS",
    "OPERATIONS",
    "RESPONSES",
    "RESPONSE_LOSSES",
    "RIVALS",
    "STUDENT_ALONE",
    "UNDISTILLED",
    "Anchor",
    "Asha",
    "Attack",
    "Augment",
    "BatchScale",
    "Budget",
    "Chosen",
    "Confirm",
    "CopyPaste",
    "Crop",
    "Cutout",
    "Data",
    "Detector",
    "Distill",
    "Domain",
    "Ema",
    "Hopeless",
    "Hyperband",
    "Input",
    "Joint",
    "Location",
    "MaskingEnhancement",
    "Median",
    "MixUp",
    "Mosaic",
    "MultiScale",
    "Noise",
    "NonNegative",
    "Objective",
    "Pad",
    "Pbt",
    "Photometric",
    "Positive",
    "Prior",
    "Probability",
    "Recipe",
    "Reference",
    "Runner",
    "Sampler",
    "Schedule",
    "Scheduler",
    "SearchSpace",
    "Section",
    "Shares",
    "Split",
    "Stage",
    "StagePlan",
    "Student",
    "SweepFiles",
    "Teacher",
    "Term",
    "Tpe",
    "Weight",
    "alters_pixels",
    "changes",
    "chosen_scheduler",
    "compares_maps",
    "differences",
    "dotted",
    "field_names",
    "from_here",
    "home",
    "json_schema",
    "load_recipe",
    "load_runner",
    "load_space",
    "load_sweep",
    "loss_weights",
    "parse_sets",
    "recipe_groups",
    "recipe_lines",
    "recipe_names",
    "room_fault",
    "sees_unlabelled",
    "sequence_text",
    "shares_of",
    "write_schemas",
]
