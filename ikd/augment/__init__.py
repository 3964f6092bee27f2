"""Augmentation by what an image shows: noise on small objects, crops on large ones, adversarial copies; copy-paste.

Importing this package registers its transforms with mmdet.
"""

from ikd.ops import install

install()  # before mmdet: its masks look for mmcv's kernels once, on import

from ikd.augment.aside import SCORED  # noqa: E402
from ikd.augment.branches import Branch, Branches, branches_of  # noqa: E402
from ikd.augment.copy_paste import PARTNER, CopyPaste  # noqa: E402
from ikd.augment.crop import ProportionalCrop  # noqa: E402
from ikd.augment.enhancement import TeacherBoxes, boxes_by_id  # noqa: E402
from ikd.augment.joint import JointAugment  # noqa: E402
from ikd.augment.mixing import MIXED, TILES  # noqa: E402
from ikd.augment.pair import (  # noqa: E402
    UNALTERED,
    AttachPerturbation,
    AttachUnaltered,
    Geometry,
    PackPair,
    PerturbationReader,
    content_of,
    copy_against,
)
from ikd.augment.pipeline import test_pipeline, test_pipeline_of, train_pipeline  # noqa: E402
from ikd.augment.rule import corrupt, is_small  # noqa: E402
from ikd.augment.sample_specific import SampleSpecificAugment, specific_arguments  # noqa: E402
from ikd.augment.union import union_area  # noqa: E402

__all__ = [
    "MIXED",
    "PARTNER",
    "SCORED",
    "TILES",
    "UNALTERED",
    "AttachPerturbation",
    "AttachUnaltered",
    "Branch",
    "Branches",
    "CopyPaste",
    "Geometry",
    "JointAugment",
    "PackPair",
    "PerturbationReader",
    "ProportionalCrop",
    "SampleSpecificAugment",
    "TeacherBoxes",
    "boxes_by_id",
    "branches_of",
    "content_of",
    "copy_against",
    "corrupt",
    "is_small",
    "specific_arguments",
    "test_pipeline",
    "test_pipeline_of",
    "train_pipeline",
    "union_area",
]
