"""The photographs of the pages, made from a data set and an exported student.

    python -m pages.pictures DATA STUDENT        # folder with val.json and images/, folder of ikd export

They are small, few, and committed: the data set is not. Those of docs/ are of BCCD (MIT licence,
https://github.com/Shenggan/BCCD_Dataset), as are the others with photographs, which `ikd analyze` has made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ikd.attack.difgsm import DIFGSM
from ikd.detectors import freeze
from ikd.distill.functional import Targets, attention, background_mask, foreground_mask
from ikd.ops import install
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.panel import Marks, fitted, panel
from ikd.pictures.style import STUDENT, TRUTH, drawing

TO = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SCORE = 0.35
"""Lowest score of a box that is shown."""
SIDE = 300
STRONGER = 8
"""How much a perturbation is enlarged to be seen."""
Pixels = NDArray[np.uint8]


class Photographs:
    """Photographs of a COCO file, with what people drew.

    Args:
        annotations: COCO json.
        images: folder.
    """

    def __init__(self, annotations: Path, images: Path) -> None:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        self.names = [one["name"] for one in content["categories"]]
        self._place = {one["id"]: index for index, one in enumerate(content["categories"])}
        self._files = [(one["id"], images / one["file_name"]) for one in content["images"]]
        self._boxes: dict[int, list[dict[str, Any]]] = {}
        for one in content["annotations"]:
            self._boxes.setdefault(one["image_id"], []).append(one)

    def pixels(self, number: int) -> Pixels:
        """Return a photograph [H, W, 3] RGB."""
        read = cv2.imread(str(self._files[number][1]))
        assert read is not None, self._files[number][1]
        return np.asarray(read[..., ::-1], dtype=np.uint8)

    def boxes(self, number: int) -> tuple[NDArray[np.float64], list[int]]:
        """Return the corners [n, 4] of its boxes, and their classes."""
        own = self._boxes.get(self._files[number][0], [])
        boxes = np.array([one["bbox"] for one in own], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes, [self._place[one["category_id"]] for one in own]

    def marks(self, number: int) -> Marks:
        """Return what people drew."""
        boxes, classes = self.boxes(number)
        return Marks(boxes, [self.names[one] for one in classes], TRUTH)


def write_data(photographs: Photographs, numbers: list[int], path: Path) -> None:
    """Write photographs with what people drew."""
    cells = [Cell(panel(photographs.pixels(one), [photographs.marks(one)], SIDE), "") for one in numbers]
    write_grid(path, [cells], title="The data", foot="BCCD, 320 x 240 px")


def write_detections(photographs: Photographs, detector: Any, numbers: list[int], path: Path) -> None:
    """Write photographs with what people drew, and beside it what a detector finds."""
    from mmdet.apis import inference_detector

    rows = []
    for number in numbers:
        pixels = photographs.pixels(number)
        found = inference_detector(detector, np.ascontiguousarray(pixels[..., ::-1])).pred_instances
        sure = found[found.scores >= SCORE]
        classes = [photographs.names[int(one)] for one in sure.labels]
        labels = [f"{name} {score:.2f}" for name, score in zip(classes, sure.scores, strict=True)]
        seen = panel(pixels, [Marks(sure.bboxes.numpy(), labels, STUDENT)], SIDE)
        truth = panel(pixels, [photographs.marks(number)], SIDE)
        rows.append([Cell(truth, "drawn by people", TRUTH), Cell(seen, "found by the student", STUDENT)])
    write_grid(
        path,
        [rows[0] + rows[1]],
        title="Blood cells (BCCD)",
        foot=f"validation photographs; scores of {SCORE} and above",
    )


def write_ikd(photographs: Photographs, detector: Any, number: int, path: Path) -> None:
    """Write a photograph with noise, as a crop, as an adversarial copy, and the copy's perturbation."""
    pixels = photographs.pixels(number)
    random = np.random.default_rng(0)
    noisy = np.clip(pixels + 255 * 0.08 * random.standard_normal(pixels.shape), 0, 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    window = (slice(round(0.1 * height), round(0.92 * height)), slice(round(0.08 * width), round(0.94 * width)))
    change = perturbation(photographs, detector, number)
    copy = np.clip(pixels + change, 0, 255).astype(np.uint8)
    enlarged = np.clip(128 + STRONGER * change, 0, 255).astype(np.uint8)
    shown = {
        "as it is": pixels,
        "noise": noisy,
        "crop": pixels[window],
        "adversarial copy": copy,
        f"perturbation x {STRONGER}": enlarged,
    }
    cells = [Cell(fitted(np.ascontiguousarray(one), 220), caption) for caption, one in shown.items()]
    write_grid(path, [cells], title="What IKD makes of a photograph", foot="")


def perturbation(photographs: Photographs, detector: Any, number: int) -> NDArray[np.float32]:
    """Return the perturbation [H, W, 3] RGB of a photograph by the attack with its defaults."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    pixels = photographs.pixels(number)
    boxes, classes = photographs.boxes(number)
    sample = DetDataSample(
        metainfo={"img_shape": pixels.shape[:2], "img_id": number, "batch_input_shape": pixels.shape[:2]}
    )
    sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.tensor(classes))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    image = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1])).permute(2, 0, 1)[None].float()
    sides = [-(-side // 32) * 32 for side in pixels.shape[:2]]
    padded = torch.nn.functional.pad(image, (0, sides[1] - image.shape[3], 0, sides[0] - image.shape[2]))
    change = DIFGSM()(detector, padded, [sample])[0, :, : pixels.shape[0], : pixels.shape[1]]
    return change.permute(1, 2, 0).numpy()[..., ::-1]


def write_masks(photographs: Photographs, detector: Any, number: int, path: Path) -> None:
    """Write a photograph, FGD's weights of foreground and background, and a detector's spatial attention."""
    pixels = photographs.pixels(number)
    height, width = pixels.shape[:2]
    boxes = torch.tensor(photographs.boxes(number)[0], dtype=torch.float32)
    targets = Targets([boxes], [torch.zeros(len(boxes), dtype=torch.long)], (height, width))
    size = height // 8, width // 8
    foreground = foreground_mask(targets, size)
    mean, spread = detector.data_preprocessor.mean, detector.data_preprocessor.std
    image = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - mean) / spread
    with torch.no_grad():
        spatial, _ = attention(detector.extract_feat(image)[0], 0.5)
    shown = {
        "foreground F": foreground[0] ** 0.5,  # small boxes weigh a hundred times as much: the root shows both
        "background B": background_mask(foreground)[0],
        "attention s": spatial[0],
    }
    cells = [Cell(panel(pixels, [photographs.marks(number)], 260), "boxes", TRUTH)]
    cells += [Cell(_heat(one.numpy(), 260), caption) for caption, one in shown.items()]
    write_grid(path, [cells], title="Where FGD looks", foot="")


def _heat(values: NDArray[np.float32], side: int) -> Pixels:
    """Return a map as colours, from its least to its largest value."""
    scaled = (values - values.min()) / max(float(values.max() - values.min()), 1e-9)
    colours = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    scale = side / max(values.shape)
    size = round(values.shape[1] * scale), round(values.shape[0] * scale)
    return np.asarray(cv2.resize(np.ascontiguousarray(colours), size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def main() -> None:
    """Write all of them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path)
    options.add_argument("student", type=Path)
    options.add_argument("--to", type=Path, default=TO)
    given = options.parse_args()
    install()
    from mmdet.apis import init_detector

    detector = init_detector(str(given.student / "student.py"), str(given.student / "student.pth"), device="cpu")
    photographs = Photographs(given.data / "val.json", given.data / "images")
    given.to.mkdir(parents=True, exist_ok=True)
    with drawing():
        write_data(photographs, [0, 3, 7], given.to / "data.jpg")
        write_detections(photographs, detector, [0, 7], given.to / "detections.jpg")
        freeze(detector)
        write_ikd(photographs, detector, 3, given.to / "ikd.jpg")
        write_masks(photographs, detector, 3, given.to / "fgd_masks.jpg")


if __name__ == "__main__":
    main()
