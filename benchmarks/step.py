"""What distillation costs: one training step beside the floor it cannot go under.

    python -m benchmarks.step [--recipe drawn_r18] [--batch 8] [--size 160] [--repeats 15]

The floor of a host is the student's own step plus the teacher's forward pass (backbone and neck); the adversarial term
adds the student's forward and backward pass and the teacher's forward once more. All variants are timed in turn in one
run, so that a drift of the machine meets them alike; medians are printed. Peak memory is that of the tensors that one
step makes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.memory import peak_mib

Step = Callable[[], object]
VARIANTS = ("student", "teacher", "features", "pkd", "fgd", "mgd", "fgd+adversarial", "mgd+adversarial")


def build(variant: str, options: argparse.Namespace) -> Step:
    """Return one step of a variant: student, teacher, the student's feature pass, or a host with or without IKD."""
    from ikd.config import load_recipe
    from ikd.distill.detector import DistillDetector
    from ikd.training import DataFiles, build_model
    from ikd.training import optim_wrapper as make_wrapper

    host, _, adversarial = variant.partition("+")
    known = host in ("pkd", "fgd", "mgd")
    recipe = load_recipe(
        options.recipe,
        {"distill.host": host if known else "none", "adversarial.enabled": bool(adversarial) or not known},
    )
    files = DataFiles.of(recipe)
    torch.manual_seed(0)
    teacher = _random_teacher(recipe, files)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(recipe if known else recipe.student_alone(), files, teacher if known else None).to(device)
    model.train()
    teacher.to(device)
    batch = batch_of(options.batch, (options.size, options.size), len(files.classes))
    batch |= {"adversarial": batch["inputs"]} if adversarial else {}
    if variant == "teacher":
        images = _clean(model, batch)["inputs"]
        return torch.no_grad()(lambda: _wait(teacher.extract_feat(images)[0]))
    wrapper = make_wrapper(recipe, model, device)
    if variant == "features":
        images = _clean(model, batch)["inputs"]
        return lambda: _wait(sum(level.sum() for level in model.student.extract_feat(images)).backward())
    assert isinstance(model, DistillDetector)
    return lambda: _wait(model.train_step(copied(batch), wrapper)["total"])


def _random_teacher(recipe: Any, files: Any) -> Any:
    from ikd.detectors import build_detector, freeze
    from ikd.training import model_config

    return freeze(build_detector(model_config(recipe.teacher, files.classes)))


def _clean(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    data = model.data_preprocessor(copied(batch), True)
    return dict(model.student.data_preprocessor({"inputs": data["inputs"], "data_samples": data["data_samples"]}, True))


def batch_of(count: int, size: tuple[int, int], num_classes: int, *, masks: bool = False) -> dict[str, Any]:
    """Draw random images of (height, width) pixels with ten boxes each, and masks that fill them where asked for."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(0)
    span, samples, images = torch.tensor([size[1], size[0]]), [], []
    for image in range(count):
        corner = torch.rand((10, 2), generator=generator) * span * 0.7
        side = 8 + torch.rand((10, 2), generator=generator) * min(size) * 0.25
        boxes = InstanceData(
            bboxes=torch.cat([corner, corner + side], dim=1),
            labels=torch.randint(num_classes, (10,), generator=generator),
        )
        if masks:
            boxes.masks = BitmapMasks([torch.ones(size, dtype=torch.uint8).numpy()] * 10, *size)
        shape = {"img_id": image, "img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
        samples.append(DetDataSample(gt_instances=boxes, metainfo=shape))
        images.append(torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8))
    return {"inputs": images, "data_samples": samples}


def copied(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch that a step may change."""
    return {name: [value.clone() for value in values] for name, values in batch.items()}


def _wait(value: object) -> object:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return value


def measure(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Time all variants in turn; return the median seconds of each."""
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for repeat in range(repeats + 2):
        for variant, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat >= 2:  # warm-up
                times[variant].append(time.perf_counter() - started)
    return {variant: statistics.median(values) for variant, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="drawn_r18")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = {variant: build(variant, options) for variant in VARIANTS}
    times = measure(steps, options.repeats)
    floor = times["student"] + times["teacher"]
    adversarial_floor = floor + times["features"] + times["teacher"]
    setting = f"batch {options.batch}, {options.size} px, {options.threads} thread(s), torch {torch.__version__}"
    print(f"{options.recipe}, {setting}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{'variant':<18}{'ms':>9}{'floor ms':>10}{'ratio':>7}{'peak MiB':>10}")
    for variant, seconds in times.items():
        base = adversarial_floor if "+" in variant else floor
        known = variant not in ("student", "teacher", "features")
        columns = f"{1e3 * base:>10.1f}{seconds / base:>7.2f}" if known else f"{'':>17}"
        print(f"{variant:<18}{1e3 * seconds:>9.1f}{columns}{peak_mib(steps[variant], device):>10.0f}")


if __name__ == "__main__":
    main()
