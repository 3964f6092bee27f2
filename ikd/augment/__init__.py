"""Augmentation by what an image shows: noise on small objects, crops on large ones, and adversarial copies.

Importing this package registers its transforms with mmdet.
"""

from ikd.ops import install

install()  # before mmdet: its masks look for mmcv's kernels once, on import

from ikd.augment._enhancement import TeacherBoxes  # noqa: E402
from ikd.augment._noise import corrupt  # noqa: E402
from ikd.augment._pair import AttachPerturbation, PackPair, PerturbationReader  # noqa: E402
from ikd.augment._pipeline import test_pipeline, train_pipeline  # noqa: E402
from ikd.augment._rule import is_small  # noqa: E402
from ikd.augment._sample_specific import SampleSpecificAugment  # noqa: E402

__all__ = [
    "AttachPerturbation",
    "PackPair",
    "PerturbationReader",
    "SampleSpecificAugment",
    "TeacherBoxes",
    "corrupt",
    "is_small",
    "test_pipeline",
    "train_pipeline",
]
