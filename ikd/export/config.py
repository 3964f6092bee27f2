"""The plain mmdet config of an exported student: one file, needing nothing of ikd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ikd.augment import test_pipeline_of
from ikd.config import Recipe
from ikd.detectors import NAMES, read_source, with_text, without_pretrained
from ikd.errors import JobError
from ikd.export.python_text import assignment, python_text
from ikd.training import DataFiles, model_config

ANNOTATIONS = "val.json"
"""Name of the validation annotations beside the config, complete for pycocotools."""
_HEADER = """\
# {title}
# A plain mmdet 3.x config, exported by ikd: it needs mmdet, mmengine and mmcv, and nothing of ikd.

default_scope = 'mmdet'

# The only path in this file: the folder of the data set, for testing. Change it to where its images lie now.
"""
_REST = """\

# Of the images to test on, as pycocotools needs them. Beside this file, wherever that is: mmengine fills in the folder.
annotations = r'''{{{{ fileDirname }}}}/{annotations}'''

test_dataloader = dict(
    batch_size=1,
    num_workers={workers},
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=annotations,
        data_prefix=dict(img={images}),
        metainfo=dict(classes=classes),
        test_mode=True,{texts}
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(type='CocoMetric', ann_file=annotations, metric={kinds!r})
test_cfg = dict(type='TestLoop')

val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = dict(type='ValLoop')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
"""


def write_config(recipe: Recipe, files: DataFiles, path: Path, *, title: str) -> None:
    """Write the student's config and read it back.

    Args:
        recipe: what was trained.
        files: its data; the config's `data_root` is the folder that holds validation annotations and images.
        path: the file to write; `ANNOTATIONS` is expected beside it.
        title: first line of the file, for people.

    Raises:
        BadInput: the student's model holds something that no plain file can say.
        JobError: what mmengine reads back is not what was meant.
    """
    model = without_pretrained(model_config(recipe.student, files.classes))
    pipeline = test_pipeline_of(recipe, model.get("bbox_head", {}).get("type", ""))
    if named := model.pop(NAMES, None):  # mmdet's own way of telling a detector what to look for
        pipeline[-1] = with_text(pipeline[-1])
    root = Path(os.path.commonpath([os.path.abspath(files.val), os.path.abspath(files.val_images)]))
    text = _HEADER.format(title=" ".join(title.split())) + assignment("data_root", str(root))
    text += assignment("classes", files.classes) + "\n" + assignment("model", model)
    text += "\n" + assignment("test_pipeline", pipeline)
    text += _REST.format(
        workers=recipe.schedule.workers,
        texts="\n        return_classes=True," if named else "",
        annotations=ANNOTATIONS,
        images=python_text(Path(os.path.relpath(os.path.abspath(files.val_images), root)).as_posix()),
        kinds=[kind for kind in recipe.validate if kind != "voc"],  # no metric of COCO
    )
    path.write_text(text, encoding="utf-8")
    _check(path, {"model": model, "test_pipeline": pipeline, "classes": files.classes, "data_root": str(root)})


def _check(path: Path, meant: Mapping[str, Any]) -> None:
    try:
        found = read_source(path)
    except Exception as error:  # a config file is a program: it can fail in any way
        raise JobError(f"{path.name}: mmengine cannot read the config that was written: {error}") from error
    for name, value in meant.items():
        if found[name] != value:
            raise JobError(f"{path.name}: {name} does not come back as it was written")
