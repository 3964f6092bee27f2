"""Regenerates ops_reference.json: small inputs, and what mmcv's compiled kernels make of them.

Run it where the compiled mmcv is installed: `python -m tests.assets.make_ops_reference`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ikd.ops import install
from tests.assets import ops_cases
from tests.assets.ops_cases import Case

REFERENCE = Path(__file__).parent / "ops_reference.json"


def cases() -> dict[str, Case]:
    """Small cases that together use every option.

    Inputs are rounded, so that the file stays readable, but not scores: equal ones are ordered by torch's whim.
    """
    chosen = {
        f"roi_align {seed}": ops_cases.roi_align_case(seed, num_rois=3, largest=7) for seed in (16, 17, 34, 43, 56, 61)
    }
    for seed in (1, 6, 23):
        chosen[f"deform_conv2d {seed}"] = ops_cases.deform_conv_case(seed, modulated=False)
        chosen[f"modulated_deform_conv2d {seed}"] = ops_cases.deform_conv_case(seed, modulated=True)
    for seed in range(3):
        chosen[f"nms {seed}"] = ops_cases.nms_case(seed, soft=False, count=30)
        chosen[f"soft_nms {seed}"] = ops_cases.nms_case(seed, soft=True, count=20)
    chosen["roi_align none"] = ops_cases.roi_align_case(0, num_rois=0, largest=6)
    chosen["nms none"] = ops_cases.nms_case(0, soft=False, count=0)
    chosen["soft_nms none"] = ops_cases.nms_case(0, soft=True, count=0)
    return {
        name: Case(case.op, {k: v if k == "scores" else round_(v) for k, v in case.tensors.items()}, case.options)
        for name, case in chosen.items()
    }


def round_(tensor: torch.Tensor) -> torch.Tensor:
    """Two decimals."""
    return (tensor * 100).round() / 100


def pack(tensor: torch.Tensor) -> dict[str, Any]:
    """Shape, kind and values as plain data; seven significant digits are all that float32 has."""
    values = tensor.flatten().tolist()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "values": [float(f"{value:.7g}") for value in values] if tensor.is_floating_point() else values,
    }


def unpack(packed: dict[str, Any]) -> torch.Tensor:
    """Undo `pack`."""
    return torch.tensor(packed["values"], dtype=getattr(torch, packed["dtype"])).view(packed["shape"])


def load() -> dict[str, tuple[Case, dict[str, torch.Tensor]]]:
    """Every stored case with the results of the compiled kernels."""
    stored = json.loads(REFERENCE.read_text())
    return {
        name: (
            Case(entry["op"], {k: unpack(v) for k, v in entry["tensors"].items()}, entry["options"]),
            {k: unpack(v) for k, v in entry["results"].items()},
        )
        for name, entry in stored.items()
    }


def main() -> None:
    """Write the file."""
    kernels = install()
    if kernels.backend != "compiled":
        raise SystemExit(
            f"the reference comes from mmcv's compiled kernels, but these are not in use: {kernels.reason}"
        )
    stored = {
        name: {
            "op": case.op,
            "options": case.options,
            "tensors": {k: pack(v) for k, v in case.tensors.items()},
            "results": {k: pack(v) for k, v in ops_cases.run(case).items()},
        }
        for name, case in cases().items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in stored.items()]
    REFERENCE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
