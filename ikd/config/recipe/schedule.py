"""The sections of a recipe that say how long, how fast and with what optimiser it trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikd.config.section import Count, NonNegative, Positive, Probability, Section

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share of a schedule that leaves some of it."""


class Optimizer(Section):
    """Optimiser of student and loss modules."""

    type: Literal["sgd", "adamw"] = "sgd"
    """Family."""
    lr: Positive = 0.01
    """Learning rate for `base_batch_size` images."""
    base_batch_size: Count | None = None
    """Scale lr by batch_size / base_batch_size; null uses lr as written."""
    momentum: Probability = 0.9
    """SGD momentum."""
    weight_decay: NonNegative = 1e-4
    """Weight decay."""
    nesterov: bool = False
    """For sgd: step by the gradient ahead (Nesterov); needs momentum."""
    norm_decay: bool = True
    """Decay weights and biases of normalisation layers too."""
    bias_decay: bool = True
    """Decay biases of other layers too."""
    lr_mult: dict[str, Positive] = {}
    """Factor of the rate by part of the student, as `backbone: 0.1`. A part is whole words of a parameter's dotted
    name, beginning anywhere (`backbone`, `bbox_head.fc_cls`, `sampling_offsets`); of several the longest holds."""


class Policy(Section):
    """Learning-rate schedule."""

    type: Literal["step", "cosine", "one_cycle", "constant"] = "step"
    """Shape."""
    milestones: tuple[Probability, ...] = (2 / 3, 11 / 12)
    """For step: shares of the schedule at which the rate falls by `gamma`."""
    gamma: Positive = 0.1
    """For step: factor at each milestone."""
    start: Share = 0.0
    """For cosine: share of the schedule before which the rate stays at its full height, after warm-up."""
    floor: Share = 0.0
    """For cosine and one_cycle: what the rate falls to, relative to its full height; 4e-6 and less is 4e-6 for
    one_cycle."""
    tail: Share = 0.0
    """For cosine and one_cycle: share of the schedule at its end in which the rate stays where it fell to."""
    span: Literal["whole", "stage"] = "whole"
    """One schedule over all stages, or one for each: then warm-up, rate and the optimiser's state start anew too."""


class Warmup(Section):
    """How the rate begins."""

    iterations: Annotated[int, Field(ge=0)] = 500
    """Length in optimiser steps; 0 is off."""
    ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.001
    """Learning-rate factor at the first step; quadratic begins at about 0, whatever stands here."""
    shape: Literal["linear", "quadratic", "constant"] = "linear"
    """From the factor up in a line, from 0 by the square of the step as YOLOX does, or by the factor all along."""


class Ema(Section):
    """Exponential moving average of the student: what is validated, kept as the best, and exported.

    Weights and running statistics are averaged after every step: average = (1 - m) average + m student.
    """

    enabled: bool = False
    """Switch."""
    momentum: Annotated[float, Field(gt=0.0, le=0.5)] = 2e-4
    """Share m of the student in each step: 2e-4 for RTMDet, 1e-4 for YOLOX."""
    warmup: Literal["exponential", "linear", "none"] = "exponential"
    """How m comes down to `momentum`: (1 - momentum) exp(-(t + 1) / gamma) + momentum in step t, as mmdet's, the larger
    of momentum and gamma / (gamma + t), or at once."""
    gamma: Count = 2000
    """Length of that, in steps."""
    between_stages: Literal["carry", "restart", "adopt"] = "carry"
    """What a new teacher finds: the average goes on, it begins anew at the student, or the student takes its place and
    both begin there."""


class Schedule(Section):
    """How long and how training runs."""

    epochs: Count = 24
    """Length of the whole training, split among the stages."""
    epochs_per_stage: Count | None = None
    """Length of every stage; then the training is as many times longer as there are stages, and `epochs` unused."""
    batch_size: Count = 16
    """Images per step."""
    optimizer: Optimizer = Optimizer()
    """Optimiser."""
    policy: Policy = Policy()
    """Learning-rate schedule."""
    warmup: Warmup = Warmup()
    """Warm-up."""
    ema: Ema = Ema()
    """Average of the student."""
    clip: Positive | None = 35.0
    """Largest gradient norm (L2); null is off."""
    amp: bool | Literal["float16", "bfloat16"] = False
    """Mixed precision. `bfloat16` needs no loss scaling and no more range than float32 has (GPUs from Ampere on, CPUs),
    `float16` scales the loss (GPUs); under both the generators of masked losses run in it too. `true` is float16 on a
    GPU and bfloat16 on a CPU, all loss modules in float32."""
    channels_last: bool = False
    """Keep images and maps channels last in memory, as convolutions of a GPU read them: rounding and speed change."""
    compile: bool = False
    """Compile the backbones (`torch.compile`; needs triton on a GPU, a C++ compiler on a CPU): rounding and speed
    change, and the first steps take minutes."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Data-loading processes; changes speed only."""
    val_interval: Count = 1
    """Epochs between validations; the last epoch is always validated."""
    val_last: Annotated[int, Field(ge=0)] = 0
    """Epochs at the end that are validated one by one, whatever val_interval says; 0 is off."""
    sync_norm: bool = False
    """Where several processes train one model: batch norms take mean and variance over all their images (SyncBN; on
    GPUs). With one process it changes nothing."""
