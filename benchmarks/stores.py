"""Perturbations on disk: how small they are, how fast they come and go.

What a teacher's attack leaves is packed, written and read again, image by image, beside a PNG of the same values and
beside the image's own file::

    python -m benchmarks.stores                                    # images that ikd draws
    python -m benchmarks.stores --data DIR --scale 533 400         # a folder with train.json and images/
    python -m benchmarks.stores --data DIR --weights teacher/best.pth

The floor is the entropy of single values (order 0), which no code can beat that sees each value alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ikd.attack import DIFGSM, PerturbationStore, TrainingImages, generate
from ikd.attack.images import open_dataset
from ikd.attack.packing import pack
from ikd.data import categories, drawn_dataset, image_digest
from ikd.detectors import build_detector, detector_config, freeze, load_weights, read_checkpoint
from ikd.evaluation import read_ahead

REPEATS = 9
ROUNDS = 50
"""How often all images are read: processes take a second to start."""


@dataclass(frozen=True)
class Row:
    """One image: bits a value, and milliseconds."""

    values: int
    floor: float
    packed: float
    png: float
    pack_ms: float
    read_ms: float
    png_ms: float
    image_ms: float


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    cv2.setNumThreads(1)  # as in a loader's process
    root = options.data or drawn_dataset()
    if not (root / "train.json").is_file():
        raise SystemExit(f"skipped: {root} has no train.json")
    source = TrainingImages(root / "train.json", root / "images", tuple(options.scale))
    teacher = load(options, categories(root / "train.json"))
    with tempfile.TemporaryDirectory() as folder:
        part = TrainingImages(first(source, options.images, Path(folder)), source.images, source.input_size)
        store = PerturbationStore(Path(folder), {})
        attack = DIFGSM(steps=options.steps, published=options.published)
        made = generate(teacher, part, store, attack, workers=options.workers, device=options.device)
        infos = [open_dataset(part, with_masks=False).get_data_info(index) for index in range(options.images)]
        rows = [measure(store, Path(info["img_path"])) for info in infos]
        report(rows, made, f"{root.name}, {options.images} images at {options.scale}, {options.steps} steps")
        reading(part, options.workers)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="COCO folder; default: the drawn data set")
    parser.add_argument(
        "--scale", type=int, nargs=2, default=(160, 160), help="size the network sees, as Resize has it"
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--weights", type=Path, help="a RetinaNet R18's; default: random ones")
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def load(options: argparse.Namespace, classes: tuple[str, ...]) -> Any:
    config = detector_config("ikd::retinanet_r18", arguments={"base_channels": options.base_channels}, classes=classes)
    teacher: Any = build_detector(config)
    if options.weights:
        load_weights(teacher, read_checkpoint(options.weights), classes=classes)
    return freeze(teacher)


def first(source: TrainingImages, count: int, folder: Path) -> Path:
    """Write the annotations of the first images alone."""
    content = json.loads(source.annotations.read_text())
    content["images"] = content["images"][:count]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    path = folder / "train.json"
    path.write_text(json.dumps(content))
    return path


def measure(store: PerturbationStore, image: Path) -> Row:
    digest = image_digest(image)
    delta = store.read(digest)
    packed = pack(delta)
    done, png = cv2.imencode(".png", delta.view(np.uint8) ^ 0x80)
    assert done
    return Row(
        delta.size,
        entropy(delta),
        8 * len(packed) / delta.size,
        8 * len(png) / delta.size,
        fastest(lambda: pack(delta)),
        fastest(lambda: store.read(digest)),
        fastest(lambda: cv2.imdecode(png, cv2.IMREAD_COLOR)),
        fastest(lambda: cv2.imread(str(image))),
    )


def entropy(delta: NDArray[np.int8]) -> float:
    """Return bits a value."""
    counts = np.bincount(delta.reshape(-1).view(np.uint8))
    shares = counts[counts > 0] / delta.size
    return float(-(shares * np.log2(shares)).sum())


def fastest(work: Callable[[], object]) -> float:
    """Return the milliseconds of the fastest of some runs: others wait for the machine."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def report(rows: list[Row], made: dict[str, Any], setting: str) -> None:
    print(setting)
    print(f"made: {made['attacked'] / made['seconds']:.1f} images a second, {made['device']}")
    for name, unit in (("floor", "bits"), ("packed", "bits"), ("png", "bits")):
        value = statistics.fmean(getattr(row, name) for row in rows)
        print(f"{name:28}{value:8.3f} {unit} a value = {value / 8:.3f} bytes")
    named = {"pack_ms": "pack", "read_ms": "read and unpack", "png_ms": "decode the PNG", "image_ms": "read the image"}
    image = statistics.median(row.image_ms for row in rows)
    for field, name in named.items():
        value = statistics.median(getattr(row, field) for row in rows)
        print(f"{name:28}{value:8.3f} ms, {value / image:5.2f} of reading the image")
    print(f"values an image             {statistics.median(row.values for row in rows):8.0f}")


def reading(source: TrainingImages, workers: int) -> None:
    """Print how fast images are read and resized, by this process and by others."""
    dataset = open_dataset(source, with_masks=False)
    for number in dict.fromkeys((0, workers)):
        start = time.perf_counter()
        wanted = list(range(len(dataset))) * ROUNDS
        count = sum(1 for _ in read_ahead(dataset, wanted, workers=number))
        rate = count / (time.perf_counter() - start)
        print(f"read with {number} processes       {rate:8.1f} images a second")


if __name__ == "__main__":
    main()
