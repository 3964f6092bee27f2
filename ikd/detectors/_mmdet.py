"""The one place that imports mmdet for building: kernels first, then registration, without its chatter."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator

from ikd.ops import install


@functools.cache
def register() -> None:
    """Make mmdet importable without compiled kernels and register its modules; cheap when repeated."""
    install()
    # mmdet prints about OneDL and warns about faster_coco_eval: neither is used here
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmdet.utils import register_all_modules

        register_all_modules(init_default_scope=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence mmengine, which logs every initialised weight, and mmdet's warnings about its own older names."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"mmdet\.")
            yield
    finally:
        logger.setLevel(level)
