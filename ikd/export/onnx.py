"""The student's network for onnxruntime: backbone, neck and head, without decoding and NMS."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ikd.detectors import head_row, quiet
from ikd.errors import BadInput, JobError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
_INPUT = "images"
_TORCH_LOGGER = "torch.onnx"


@dataclass(frozen=True)
class OnnxFile:
    """An exported network.

    Attributes:
        file: its name.
        input: name of the input, [N, 3, H, W] float32; N, H and W are free.
        outputs: names, by kind and then by pyramid level from the finest.
        channels: order of the input's colours, `RGB` or `BGR`.
        mean: taken off each channel, in grey levels of 0..255.
        std: each channel is divided by, in grey levels.
        pad_value: of the pixels added at right and bottom, after normalisation.
        size_divisor: sides are padded to a multiple of this, px.
        largest_difference: to torch, relative to values above 1.
    """

    file: str
    input: str
    outputs: tuple[str, ...]
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_value: float
    size_divisor: int
    largest_difference: float


class _Network(torch.nn.Module):
    """A one-stage detector from normalised images to the flat list of its head's tensors."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of images [N, 3, H, W]: all levels of the first kind, then of the next."""
        return tuple(tensor for kind in self.detector._forward(images) for tensor in kind)


def require_onnx() -> None:
    """Check that the optional packages are there, before any work.

    Raises:
        BadInput: names what is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(f"onnx: needs {', '.join(missing)}, which is not installed here; pip install 'ikd[onnx]'")


def require_one_stage(detector: torch.nn.Module) -> None:
    """Check that the detector's head gives tensors by level.

    Raises:
        BadInput: it is no one-stage detector, or one whose head gives something else.
    """
    kinds: Any = importlib.import_module("mmdet.models.detectors")
    if not isinstance(detector, kinds.SingleStageDetector) or isinstance(detector, kinds.DetectionTransformer):
        raise BadInput(
            f"onnx: the student must be a one-stage detector (RetinaNet, GFL, FCOS, ...), but is a "
            f"{type(detector).__name__}; export it without onnx"
        )
    head = head_row(detector.bbox_head)
    if not head.tensors_by_level:
        raise BadInput(
            f"onnx: the student's head must give a tensor a level, but is a {head.name}; export it without onnx"
        )


def write_onnx(detector: Any, folder: Path, *, height: int, width: int) -> OnnxFile:
    """Write student.onnx and compare it with torch, on the size it was traced at and on others.

    Args:
        detector: one-stage, in eval mode.
        folder: receives the file.
        height: of an input, px; a multiple of what the detector pads to.
        width: likewise.

    Raises:
        JobError: torch cannot export the detector, or onnxruntime computes something else.
    """
    path = folder / "student.onnx"
    network = _Network(detector).cpu().eval()
    divisor = int(getattr(detector.data_preprocessor, "pad_size_divisor", 1))
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = _output_names(detector, detector._forward(images))
    free = {0: "batch", 2: "height", 3: "width"}
    try:
        with quiet(""), _quiet_exporter():
            torch.onnx.export(
                network,
                (images,),
                path,
                input_names=[_INPUT],
                output_names=list(outputs),
                dynamo=True,
                dynamic_shapes=(free,),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever a layer raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise JobError(f"onnx: torch cannot export a {type(detector).__name__}: {reason}") from error
    other = torch.nn.functional.pad(images[:1], (0, divisor, 0, 2 * divisor))  # batch, height and width are free
    difference = max(_difference(network, path, images), _difference(network, path, other))
    if not difference <= TOLERANCE:
        raise JobError(f"onnx: onnxruntime and torch must agree to {TOLERANCE}, but differ by {difference}")
    return OnnxFile(
        file=path.name,
        input=_INPUT,
        outputs=outputs,
        size_divisor=divisor,
        largest_difference=difference,
        **_normalisation(detector.data_preprocessor),
    )


def _output_names(detector: Any, kinds: Sequence[Sequence[torch.Tensor]]) -> tuple[str, ...]:
    """Name outputs as the head's own decoding names its arguments: cls_scores_0, bbox_preds_0, ..."""
    arguments = list(inspect.signature(detector.bbox_head.predict_by_feat).parameters)
    return tuple(
        f"{argument}_{level}"
        for argument, tensors in zip(arguments, kinds, strict=False)
        for level in range(len(tensors))
    )


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hold back the exporter's log: it names every torchvision operation that it does without."""
    logger = logging.getLogger(_TORCH_LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@torch.no_grad()
def _difference(network: _Network, path: Path, images: torch.Tensor) -> float:
    """Return the largest difference between onnxruntime and torch, relative where a value is above 1."""
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {_INPUT: images.numpy()})
    pairs = zip(found, network(images), strict=True)
    return max(
        float(((torch.from_numpy(ours) - theirs).abs() / theirs.abs().clamp(min=1)).max()) for ours, theirs in pairs
    )


def _normalisation(preprocessor: Any) -> dict[str, Any]:
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if getattr(preprocessor, "_enable_normalize", False):
        mean, std = (
            tuple(round(float(value), 4) for value in getattr(preprocessor, name).flatten()) for name in ("mean", "std")
        )
    swaps = bool(getattr(preprocessor, "_channel_conversion", False))
    return {"mean": mean, "std": std, "channels": "RGB" if swaps else "BGR", "pad_value": float(preprocessor.pad_value)}
