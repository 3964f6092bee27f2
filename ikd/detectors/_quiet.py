"""mmengine and mmdet without their notes about things nobody asked for."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(warnings_of: str = r"mmdet\.") -> Iterator[None]:
    """Hold back mmengine's log below errors (it notes every initialised weight), and some warnings.

    Args:
        warnings_of: pattern of the modules whose warnings are held back; mmdet warns about its own older names.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=warnings_of)
            yield
    finally:
        logger.setLevel(level)
