"""Any mmdet detector: built from a name, a file or a dict, loaded safely, tapped and frozen."""

from ikd.detectors.anchors import base_anchors
from ikd.detectors.build import boxes_only, build_detector, freeze, has_masks, quiet, weights_sha256
from ikd.detectors.checkpoint import Checkpoint, fetch, read_checkpoint
from ikd.detectors.config import detector_config, left_out
from ikd.detectors.cost import Complexity, complexity, latency_ms
from ikd.detectors.cutting import ClassRows, wanted_classes
from ikd.detectors.families import Family, Head, Neck, head_row
from ikd.detectors.kinds.crowd import knows_one_class
from ikd.detectors.kinds.text import NAMES, reads_text, with_text
from ikd.detectors.mode import LATE, loss_mode, training_position
from ikd.detectors.pretrained import without_pretrained
from ikd.detectors.pyramid import (
    Level,
    SharedLevels,
    paired_levels,
    shared_levels,
    tap_channels,
    tap_levels,
    tap_strides,
)
from ikd.detectors.reach import reached_levels
from ikd.detectors.source import read_source
from ikd.detectors.taps import TapChoice, Taps, tap_names
from ikd.detectors.test_input import own_test_input
from ikd.detectors.unread import unread_settings
from ikd.detectors.untrusted import harmless, refuse_harm
from ikd.detectors.weights import inherit, load_weights, refuse_classes

__all__ = [
    "LATE",
    "NAMES",
    "Checkpoint",
    "ClassRows",
    "Complexity",
    "Family",
    "Head",
    "Level",
    "Neck",
    "SharedLevels",
    "TapChoice",
    "Taps",
    "base_anchors",
    "boxes_only",
    "build_detector",
    "complexity",
    "detector_config",
    "fetch",
    "freeze",
    "harmless",
    "has_masks",
    "head_row",
    "inherit",
    "knows_one_class",
    "latency_ms",
    "left_out",
    "load_weights",
    "loss_mode",
    "own_test_input",
    "paired_levels",
    "quiet",
    "reached_levels",
    "read_checkpoint",
    "read_source",
    "reads_text",
    "refuse_classes",
    "refuse_harm",
    "shared_levels",
    "tap_channels",
    "tap_levels",
    "tap_names",
    "tap_strides",
    "training_position",
    "unread_settings",
    "wanted_classes",
    "weights_sha256",
    "with_text",
    "without_pretrained",
]
