"""The mmcv kernels that our detectors call, without a compiler.

`install()` makes `import mmcv.ops` and `import mmdet` work where mmcv came as a pure-Python wheel. Call it before
either is imported. Which kernels are in use, and why, is in the `Kernels` it returns; the environment variable
`IKD_OPS=compiled|torchvision|plain` chooses.
"""

from ikd.ops.backend import BACKENDS, Kernels, install
from ikd.ops.mmcv_ext import SUPPORTED, extension

__all__ = ["BACKENDS", "SUPPORTED", "Kernels", "extension", "install"]
