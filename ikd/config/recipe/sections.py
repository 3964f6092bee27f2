"""The sections of a recipe. Published defaults are those of one-stage detectors."""

from __future__ import annotations

import os
import warnings
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import pydantic
from pydantic import Discriminator, Field, Tag

from ikd.config.paths import absolute, from_here, is_recipe_path
from ikd.config.recipe.hosts import FOREIGN, HOSTS
from ikd.config.recipe.images import Input
from ikd.config.recipe.schedule import Schedule
from ikd.config.recipe.terms import Adversarial, Attack, Augment, Distill
from ikd.config.section import Section, plain
from ikd.masking import has_secret

DRAWN = "ikd::drawn"
"""Data root that stands for the data set ikd draws itself."""


Anchor = Literal[
    "paper", "student_alone", "inherit_alone", "equal_budget", "epochs_per_stage", "epochs_per_stage_control"
]
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)
"""Names of fixed trials."""
UNDISTILLED: tuple[Anchor, ...] = ("student_alone", "inherit_alone")
"""Those without distillation: what a distilled student must beat is the stronger of them."""


class Split(Section):
    """One part of the data set."""

    annotations: str
    """COCO json, relative to `data.root`."""
    images: str = "images"
    """Image folder, relative to `data.root`."""

    @pydantic.field_validator("annotations", "images")
    @classmethod
    def _expanded(cls, path: str) -> str:
        return os.path.expanduser(path)


class Data(Section):
    """The data set, in COCO format."""

    root: str
    """Folder of the data set, by its path from the file that says it, or `ikd::drawn` for the built-in drawn one."""
    train: Split = Split(annotations="train.json")
    """Training part."""
    val: Split = Split(annotations="val.json")
    """Validation part: decides which trial is best."""
    test: Split | None = None
    """Part that no training, search or choice looks at; null where there is none. An exported student is measured on
    it, and so are trainings that are kept apart. It must not overlap the other two; `ikd data split` makes one."""
    unlabeled: str | None = None
    """Folder of photographs without labels, folders inside included, absolute or relative to the root; null where there
    are none. Teachers' boxes are their labels (`distill.labels`). None of them may be in another part too."""
    keep_empty: bool = False
    """Train on images without a box too, as background; false leaves them out, as mmdet does."""
    orientation: Literal["apply", "ignore"] = "apply"
    """Turn pixels as a camera's orientation tag says (EXIF), or read them as they are stored: whichever way the boxes
    were drawn. Holds in training, validation, attack and export."""
    began_at: str | None = None
    """Where the data set lay when a training or sweep began that goes on here: it stands for `root` in what tells one
    training from another. ikd writes it, once the content is found to be the same; null where nothing was moved."""

    @pydantic.field_validator("unlabeled")
    @classmethod
    def _expanded(cls, folder: str | None) -> str | None:
        return folder if folder is None else os.path.expanduser(folder)

    @pydantic.field_validator("root", "began_at")
    @classmethod
    def _absolute(cls, root: str | None) -> str | None:
        return root if root in (None, DRAWN) else os.path.abspath(absolute(root))


Free = Annotated[
    dict[str, Any],
    pydantic.BeforeValidator(
        lambda value: {} if value is None else value, json_schema_input_type=dict[str, Any] | None
    ),
]
"""Keys that a detector has for itself; null is none, which takes away those of a recipe underneath."""


class Detector(Section):
    """A student or teacher: any mmdet detector."""

    config: str | dict[str, Any]
    """`mmdet::family/name.py` (zoo), `ikd::name` (shipped small ones), a config file by its path from where it is
    written, or an inline mapping."""
    arguments: Free = {}
    """Arguments of a shipped detector, e.g. `base_channels: 16`. Only for `ikd::` names; those of a recipe underneath
    go where another config takes the place of such a detector."""
    overrides: Free = {}
    """Dotted keys into the model config, e.g. `bbox_head.stacked_convs: 2`; null takes away those of a recipe
    underneath."""
    checkpoint: str | None = None
    """Path of trained weights, from the file that says it, or URL; null starts from scratch. A password for its host
    stands in ~/.netrc."""
    pretrained_backbone: bool = False
    """Keep the zoo config's ImageNet weights for the backbone (downloads them on first use)."""

    @pydantic.field_validator("config", "checkpoint", "overrides")
    @classmethod
    def _absolute(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return from_here(f"student.{info.field_name}", value)

    @pydantic.field_validator("checkpoint")
    @classmethod
    def _without_password(cls, checkpoint: str | None) -> str | None:
        address = (checkpoint or "").partition("?")[0]  # a signed address lasts for a while, and is no password
        if "://" in address and ("@" in urlsplit(address).netloc or has_secret(address)):
            raise ValueError("must hold no name or password, as recipes are copied: these belong in ~/.netrc")
        return checkpoint


class Student(Detector):
    """The detector that goes to production."""

    inherit: bool = False
    """Copy neck and head from the teacher before training (the papers' inheriting strategy; same-head pairs only)."""


TeacherClasses = Annotated[
    Annotated[Literal["data", "own"], Tag("word")] | Annotated[tuple[str, ...], Tag("list")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "list"),
]
"""Which classes a teacher knows; a discriminator, so that a wrong word is refused as a word."""


class Teacher(Detector):
    """A frozen detector the student learns from."""

    recipe: str | None = None
    """Recipe that trains this teacher once when it has no checkpoint, a shipped name or a path from where it stands;
    cached by content."""
    ap: Annotated[float, Field(ge=0.0, le=100.0)] | None = None
    """Its mAP in percent, as tables print it: searched sequences go from weak to strong by it."""

    classes: TeacherClasses = "data"
    """What its weights were trained for: the classes of the data set, in their order (`data`); others (`own`), which do
    where nothing reads what it predicts, as FGD, MGD, PKD, CWD and the adversarial term by `feature_distance` do not;
    or these names, in the order of its weights, for `class_map` where the checkpoint does not hold them."""
    class_map: dict[str, str] | None = None
    """For weights whose classes contain the data set's, such as COCO's: name in the data set -> name there; classes
    that are left out are called the same there. The rows of the others are cut off. Null cuts nothing."""

    def acting(self) -> dict[str, Any]:
        """Return what acts, as plain values; what trains as it was done before there was such a field is left out."""
        idle = {"ap"} | {key for key in ("classes", "class_map") if getattr(self, key) in ("data", None)}
        return self.model_dump(mode="json", exclude=idle)

    @pydantic.field_validator("recipe")
    @classmethod
    def _absolute_recipe(cls, recipe: str | None) -> str | None:
        return absolute(recipe) if recipe is not None and is_recipe_path(recipe) else recipe


class Stage(Section):
    """A stretch of epochs with one teacher, or with `teachers.together` one of those of the only stretch."""

    teacher: str
    """Name under `teachers.available`."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of the epochs, and with `teachers.together` of the loss; given for all or for none (equal shares)."""
    set: dict[str, Any] = {}
    """Fields under distill, adversarial and augment that hold in this stage alone, by dotted name; with
    `teachers.together` those of the terms of this teacher, under distill."""


def _name_or_stage(value: Any) -> str:
    return "name" if isinstance(value, str) else "stage"


StageEntry = Annotated[Annotated[str, Tag("name")] | Annotated[Stage, Tag("stage")], Discriminator(_name_or_stage)]


class Teachers(Section):
    """Who teaches, in which order."""

    available: dict[str, Teacher] = {}
    """Teachers by short name."""
    sequence: tuple[StageEntry, ...] = ()
    """Stages in the order of teaching, each a name or a mapping; empty trains the student alone."""
    together: bool = False
    """The teachers of the sequence teach at once, in one stage: each has terms (perhaps by its `set`), adapters and
    prototypes of its own, and L = L_det + sum_t w_t L_t, with w_t its `share`, or 1/T of T teachers. What can only come
    from one comes from the first: what the student inherits, the boxes of masking enhancement, the labels of
    `distill.labels`. One teacher teaches as without it."""
    restart_losses: bool = True
    """Adapters, generators and context blocks start anew with each teacher; false carries over those that fit."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The sequence with every name written out as a stage."""
        return tuple(Stage(teacher=entry) if isinstance(entry, str) else entry for entry in self.sequence)

    @property
    def shares(self) -> list[float]:
        """Share of each stage as it is written, equal ones where none is; their sum is 1 but for rounding."""
        stages = self.stages
        return [stage.share or 1 / len(stages) for stage in stages]

    @property
    def at_once(self) -> bool:
        """Whether several teachers share one stage."""
        return self.together and len(self.sequence) > 1


# pydantic keeps an old method of this name, which nobody calls
warnings.filterwarnings("ignore", 'Field name "validate" in "RecipeSections" shadows', UserWarning)


class RecipeSections(Section):
    """The fields of a recipe, and what can be read off them alone; `Recipe` is what a person works with."""

    name: str = "recipe"
    """Name shown in tables."""
    description: str = ""
    """One line for people."""
    data: Data
    """Data set."""
    student: Student
    """Student."""
    teachers: Teachers = Teachers()
    """Teachers."""
    input: Input = Input()
    """Image geometry."""
    augment: Augment = Augment(enabled=False)
    """Sample-specific augmentation."""
    attack: Attack = Attack()
    """How perturbations are made."""
    adversarial: Adversarial = Adversarial(enabled=False)
    """Adversarial feature term."""
    distill: Distill = Distill()
    """Feature distillation on clean images."""
    schedule: Schedule = Schedule()
    """Schedule."""
    validate: tuple[Literal["bbox", "segm", "voc"], ...] = ("bbox",)  # type: ignore[assignment]
    """Metrics of a validation: COCO's of boxes (bbox), and of masks (segm) where the student predicts them (on a CPU
    that takes longer); PASCAL VOC's AP50 of boxes (voc), as voc_AP50 and, over eleven points, as voc_AP50_07."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything random."""
    deterministic: bool = False
    """Have a GPU compute the same bits every time: slower, and refused for a detector with an operation that cannot."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes the GPU where there is one."""

    @property
    def teacher(self) -> Teacher | None:
        """The first teacher, or None when the student trains alone."""
        return self.teachers.available[self.teachers.stages[0].teacher] if self.teachers.sequence else None

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training."""
        per_stage = self.schedule.epochs_per_stage
        stages = 1 if self.teachers.at_once else max(1, len(self.teachers.sequence))
        return stages * per_stage if per_stage else self.schedule.epochs

    def value(self, name: str) -> Any:
        """Return a field by dotted name, as a plain value; None when it lies below a key that is not there."""
        node: Any = self
        parts = name.split(".")
        for index, part in enumerate(parts):
            if isinstance(node, Section):
                node = getattr(node, part) if part in type(node).model_fields else None
                continue
            if isinstance(node, dict) and (rest := ".".join(parts[index:])) in node:  # keys of `overrides` have dots
                return plain(node[rest])
            node = node.get(part) if isinstance(node, dict) else None
        return plain(node.written() if isinstance(node, Section) else node)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain YAML-able values.

        What it does not say of losses of other packages is left out: it can be read where they are not installed.
        """
        raw = self.model_dump(mode="json")
        used = {self.distill.host, *(stage.set.get("distill.host") for stage in self.teachers.stages)}
        for name in FOREIGN:
            if name not in used and self.value(f"distill.{name}") == HOSTS[name]().model_dump(mode="json"):
                raw["distill"].pop(name)
        return raw
