"""Detectors that look for what a text names (GLIP, Grounding DINO): the text is the names of the classes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ikd.detectors.kinds.first import put_first
from ikd.errors import BadInput, refuse

KINDS = ("GLIP", "GroundingDINO")
NAMES = "entities"
"""Key of a model config that holds the names; mmdet does not know it, `build_detector` takes it out."""
_NAME = "language_model.name"
_WORDS = 256
"""Scores that published Grounding DINOs give: one for each word at most."""
_BOX_LOSS = {"type": "GIoULoss", "loss_weight": 2.0}
_MATCHING = {
    "type": "HungarianAssigner",
    "match_costs": [
        {"type": "BinaryFocalLossCost", "weight": 2.0},
        {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
        {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
    ],
}
"""What GLIP and Grounding DINO are trained by, which mmdet's configs for prediction leave out."""

_POSITIONS = ".embeddings.position_ids"


def reads_text(model: Mapping[str, Any]) -> bool:
    """Return whether a model config is of such a detector."""
    return model.get("type") in KINDS


def prepare_text(model: Any, classes: Sequence[str] | None) -> None:
    """Check a detector's language model, and note in its config what it is to look for: in place.

    How many scores it gives is the number of words that it reads at most, and stays where it suffices.

    Args:
        model: of a kind in `KINDS`.
        classes: names of the data set's classes; None leaves the text to whoever gives the images.

    Raises:
        BadInput: transformers is not installed, or the language model is no folder.
    """
    kind = model["type"]
    if importlib.util.find_spec("transformers") is None:
        raise BadInput(f"{kind} reads the names of the classes by a package that is missing: pip install 'ikd[text]'")
    folder = str((model.get("language_model") or {}).get("name"))
    if not (Path(folder).expanduser() / "config.json").is_file():
        rule = (
            "must be the folder of a language model (config.json, its vocabulary and weights, as transformers' "
            "save_pretrained writes them), as no training reads from a hub"
        )
        refuse(f"{kind}: {_NAME}", rule, folder, f"name it by overrides: {{{_NAME}: FOLDER}}")
    model["language_model"]["name"] = str(Path(folder).expanduser())
    head = model["bbox_head"]
    if kind == "GLIP":
        head["lang_model_name"] = model["language_model"]["name"]
        head.setdefault("loss_bbox", dict(_BOX_LOSS))
    else:
        model["use_autocast"] = False  # schedule.amp and distill.teacher_precision say how it computes
        model["train_cfg"] = model.get("train_cfg") or {"assigner": dict(_MATCHING)}
        head["num_classes"] = max(len(classes or ()), head.get("num_classes", _WORDS))  # denoising draws among them
    if classes is not None:
        model[NAMES] = list(classes)


def with_text(packing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last step of an mmdet pipeline so that it hands on what the data set's `return_classes` gives."""
    return {**packing, "meta_keys": (*packing["meta_keys"], "text", "custom_entities")}


def without_positions(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights without the numbers 0, 1, 2, ... that older versions of transformers saved with a language model.

    Args:
        weights: of a checkpoint.
        own: of the detector that they go into.
    """
    return {key: value for key, value in weights.items() if key in own or not key.endswith(_POSITIONS)}


class Named(nn.Module):
    """A detector that is told what to look for with each image; where a sample says nothing, these names."""

    entities: tuple[str, ...]

    def loss(self, batch_inputs: Any, batch_data_samples: list[Any]) -> Any:
        """Compute mmdet's own loss."""
        parent: Any = super()
        with _as_meant():
            return parent.loss(batch_inputs, self._told(batch_data_samples))

    def predict(self, batch_inputs: Any, batch_data_samples: list[Any], rescale: bool = True) -> Any:
        """Predict as mmdet does; where a long text is read in parts, which it can for one image only, one by one."""
        parent: Any = super()
        samples, settings = self._told(batch_data_samples), getattr(self, "test_cfg", None) or {}
        with _as_meant():
            if settings.get("chunked_size", -1) <= 0:
                return parent.predict(batch_inputs, samples, rescale)
            single = zip(batch_inputs.split(1), samples, strict=True)
            return [parent.predict(image, [sample], rescale)[0] for image, sample in single]

    def asked(self, count: int) -> dict[str, Any]:
        """Return what the encoder of a Grounding DINO is given beside maps, for as many images."""
        detector: Any = self
        caption = detector.get_tokens_and_prompts(list(self.entities), True)[1]
        found = detector.language_model([caption] * count)
        return {"text_dict": {**found, "embedded": detector.text_feat_map(found["embedded"])}}

    def _told(self, samples: list[Any]) -> list[Any]:
        for sample in samples:
            if "text" not in sample:
                sample.set_metainfo({"text": self.entities, "custom_entities": True})
        return samples


@contextlib.contextmanager
def _as_meant() -> Iterator[None]:
    """Keep mmcv from saying at each step that texts have no positions where Grounding DINO's decoder reads them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="position encoding of key is")
        yield


def settle() -> None:
    """Let transformers read in one thread, as data loaders fork, and say of weights only what is an error."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        importlib.import_module("transformers").logging.set_verbosity_error()


def name_classes(detector: Any, entities: Sequence[str]) -> None:
    """Let a detector look for these classes wherever its images come without a text.

    Raises:
        BadInput: names that its language model cannot tell apart or not read, or more of them than it reads at once.
    """
    _check_names(detector, tuple(entities))
    put_first(Named, detector)
    detector.entities = tuple(entities)


def _check_names(detector: Any, entities: tuple[str, ...]) -> None:
    kind = type(detector).__name__
    from mmdet.models.detectors.glip import clean_label_name

    read: dict[str, str] = {}
    for name in entities:
        said = clean_label_name(name).strip().lower()
        if other := read.get(said):
            refuse(f"{kind}: class {name!r}", f"must differ from {other!r} in what is read of it", said)
        read[said] = name
    tokens, _, places, _ = detector.get_tokens_and_prompts(list(entities), True)
    count, most = int(torch.as_tensor(tokens["attention_mask"]).sum()), detector.language_model.max_tokens
    if count > most and (detector.test_cfg or {}).get("chunked_size", -1) <= 0:
        rule = f"must make no more than the {most} tokens that its language model reads at once"
        refuse(f"{kind}: the names of {len(entities)} classes", rule, count)
    unread = torch.tensor([not any(end > begin for begin, end in one) for one in places])
    if count <= most:
        unread |= detector.get_positive_map(tokens, places)[1].sum(1) == 0
    if unread.any():
        refuse(f"{kind}: class name", "must hold letters that its vocabulary knows", entities[int(unread.nonzero()[0])])
