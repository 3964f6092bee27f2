"""The plain mmdet config of an exported student: one file, needing nothing of ikd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ikd.augment import test_pipeline
from ikd.config import Recipe
from ikd.detectors import head_row, without_pretrained
from ikd.errors import JobError
from ikd.export.python_text import assignment
from ikd.training import DataFiles, model_config

_HEADER = """\
# {title}
# A plain mmdet 3.x config, exported by ikd: it needs mmdet, mmengine and mmcv, and nothing of ikd.

default_scope = 'mmdet'

# The only path in this file: the folder of the data set. Change it to where the data lies now.
"""
_DATA = """\

test_dataloader = dict(
    batch_size=1,
    num_workers={workers},
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file={annotations!r},
        data_prefix=dict(img={images!r}),
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(type='CocoMetric', ann_file=data_root + '/' + {annotations!r}, metric='bbox')
test_cfg = dict(type='TestLoop')

val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = dict(type='ValLoop')
"""


def write_config(recipe: Recipe, files: DataFiles, path: Path, *, title: str) -> None:
    """Write the student's config and read it back.

    Args:
        recipe: what was trained.
        files: its data; the config's `data_root` is the folder that holds validation annotations and images.
        path: the file to write.
        title: first line of the file, for people.

    Raises:
        BadInput: the student's model holds something that no plain file can say.
        JobError: what mmengine reads back is not what was meant.
    """
    model = without_pretrained(model_config(recipe.student, files.classes))
    bordered = head_row(model.get("bbox_head", {}).get("type", "")).reads_border
    pipeline = test_pipeline(
        scale=recipe.input.scale,
        keep_ratio=recipe.input.keep_ratio,
        bordered=bordered,
        orientation=recipe.data.orientation,
    )
    root = Path(os.path.commonpath([os.path.abspath(files.val), os.path.abspath(files.val_images)]))
    text = _HEADER.format(title=" ".join(title.split())) + assignment("data_root", str(root))
    text += assignment("classes", files.classes) + "\n" + assignment("model", model)
    text += "\n" + assignment("test_pipeline", pipeline)
    text += _DATA.format(
        workers=recipe.schedule.workers,
        annotations=_below(files.val, root),
        images=_below(files.val_images, root),
    )
    path.write_text(text, encoding="utf-8")
    _check(path, {"model": model, "test_pipeline": pipeline, "classes": files.classes, "data_root": str(root)})


def _below(path: Path, root: Path) -> str:
    return Path(os.path.relpath(os.path.abspath(path), root)).as_posix()


def _check(path: Path, meant: Mapping[str, Any]) -> None:
    try:
        found = Config.fromfile(path)
    except Exception as error:  # a config file is a program: it can fail in any way
        raise JobError(f"{path.name}: mmengine cannot read the config that was written: {error}") from error
    for name, value in meant.items():
        if found[name] != value:
            raise JobError(f"{path.name}: {name} does not come back as it was written")
