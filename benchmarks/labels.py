"""What the teacher's labels cost a step once they are kept: their look-up, against the CPU time of a training step.

    python -m benchmarks.labels [--recipe drawn_r18] [--unlabeled ikd::drawn] [--set data.root=FOLDER ...]

The second call of the student's loss is not counted: an image with labels of its own costs as much.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from ikd.config import load_recipe, parse_sets

STEPS, LOOKS, ROUNDS = 12, 200, 3


def seconds(work: Callable[[int], object]) -> float:
    """Return the CPU seconds of one piece of work, the least of a few rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for index in range(LOOKS):
            work(index)
        found.append((time.process_time() - began) / LOOKS)
    return min(found)


def steps(recipe: Any, files: Any, loader: Any) -> float:
    """Return the median CPU seconds of a training step on batches of both parts."""
    import torch

    from ikd.detectors import build_detector, freeze
    from ikd.training import build_model, model_config
    from ikd.training.optim import optim_wrapper

    teacher = freeze(build_detector(model_config(recipe.teacher, files.classes)))
    model = build_model(recipe, files, teacher).train()
    wrapper, took = optim_wrapper(recipe, model, torch.device("cpu")), []
    for batch in islice(loader, STEPS):
        began = time.process_time()
        model.train_step(batch, wrapper)
        took.append(time.process_time() - began)
    return statistics.median(took)


def main() -> None:
    """Measure, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="drawn_r18")
    parser.add_argument("--unlabeled", default="ikd::drawn")
    parser.add_argument("--set", action="append", default=[], help="field=value")
    options = parser.parse_args()
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    from ikd.training import prepare, train_loader

    plain = {"augment.enabled": False, "adversarial.enabled": False, "distill.host": "none", "schedule.workers": 0}
    labels = {"data.unlabeled": options.unlabeled, "distill.labels.enabled": True}
    recipe = load_recipe(options.recipe, {**plain, **labels, **parse_sets(options.set)})
    prepared = prepare(recipe)
    files, made = prepared.files, prepared.stages[0]
    given: dict[str, Any] = {"perturbations": None, "boxes": None, "with_masks": False, "labels": made.labels}
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(train_loader(recipe.stages[0], files, **given), recipe.seed)
    loader.dataset.start_epoch(0)
    images, photographs = loader.dataset.unlabelled, files.photographs
    assert photographs is not None
    look = seconds(lambda index: images.taught.instances(photographs.digests[index % len(photographs)]))
    look += seconds(images.place)
    step, count = steps(recipe, files, loader), recipe.distill.labels.ratio * recipe.schedule.batch_size
    print(f"step {1e3 * step:.0f} ms; labels of a photograph {1e6 * look:.0f} us; {100 * count * look / step:.3f} %")


if __name__ == "__main__":
    main()
