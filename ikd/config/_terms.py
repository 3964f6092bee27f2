"""The sections of a recipe that say how to distil: augmentation, attack and loss terms, with the published defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikd.config._section import Section

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class Noise(Section):
    """AdpHFC: Gaussian noise on images whose objects are all small."""

    enabled: bool = True
    """Switch."""
    sigma: NonNegative = 0.08
    """Standard deviation, in units of the 0..1 pixel range."""
    probability: Probability = 0.3
    """Probability for an image that qualifies."""


class Crop(Section):
    """AdpCrop: random crop of images that hold an object that is not small."""

    enabled: bool = True
    """Switch."""
    min_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """Smallest side of the window relative to the image's; each axis is drawn from [min_ratio, 1]."""
    probability: Probability = 1.0
    """Probability for an image that qualifies."""


class Augment(Section):
    """Sample-specific augmentation of IKD."""

    enabled: bool = True
    """Switch for noise and crop together."""
    area_threshold: Positive = 1024.0
    """An image is small when every box is below this area, in px^2 of the original image."""
    noise: Noise = Noise()
    """AdpHFC."""
    crop: Crop = Crop()
    """AdpCrop."""
    stop_fraction: Probability = 2 / 3
    """Share of the schedule after which noise, crop and adversarial term stop."""
    published: bool = False
    """Reproduce the authors' pipeline where ours differs (integer areas, one crop window per branch)."""


class Diversity(Section):
    """Input diversity of DI-FGSM."""

    probability: Probability = 0.5
    """Probability of the random resize-and-pad at each attack step."""
    min_scale: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Smallest scale factor."""


class Attack(Section):
    """How adversarial copies are made against the teacher (DI-FGSM, MI-FGSM)."""

    eps: NonNegative = 8.0
    """Largest change of a pixel, in grey levels of 0..255."""
    step: Positive = 2.0
    """Change per step, in grey levels; at most eps."""
    steps: Count = 5
    """Number of steps."""
    momentum: NonNegative = 1.0
    """Decay of the accumulated gradient; 0 is plain iterative FGSM."""
    diversity: Diversity = Diversity()
    """Random resize-and-pad."""
    loss: Literal["cls", "cls+reg", "feature_distance"] = "cls"
    """What the attack maximises."""
    batch_size: Count = 8
    """Images attacked at once; changes speed only."""
    published: bool = False
    """Reproduce the authors' attack where ours differs (range-scaled eps, square diversity, unmoved boxes)."""


class Adversarial(Section):
    """IKD's feature loss on adversarial copies."""

    enabled: bool = True
    """Switch."""
    weight: NonNegative = 1e-5
    """alpha_adv (reduction R1: sum over elements, divided by the batch)."""
    distance: Literal["mse", "l1", "cwd", "pkd"] = "mse"
    """Distance between student and teacher features."""


class Fgd(Section):
    """Focal and Global KD."""

    temperature: Positive = 0.5
    """Temperature of the attention maps."""
    alpha: NonNegative = 1e-3
    """Weight of the foreground term."""
    beta: NonNegative = 5e-4
    """Weight of the background term."""
    gamma: NonNegative = 5e-4
    """Weight of the attention term."""
    lambda_: NonNegative = 5e-6
    """Weight of the global (relation) term."""


class Mgd(Section):
    """Masked Generative Distillation."""

    alpha: NonNegative = 2e-5
    """Weight."""
    mask_ratio: Probability = 0.65
    """Probability of a masked position (lambda)."""


class Pkd(Section):
    """Pearson KD."""

    weight: NonNegative = 10.0
    """Weight."""


class Cwd(Section):
    """Channel-wise distillation."""

    tau: Positive = 1.0
    """Temperature."""
    weight: NonNegative = 5.0
    """Weight."""


class Reference(Section):
    """Padded input and channels at which the weights were tuned."""

    width: Count = 1088
    """Padded width in pixels."""
    height: Count = 800
    """Padded height in pixels."""
    channels: Count = 256
    """Channels of the pyramid."""


class Distill(Section):
    """Feature distillation."""

    host: Literal["none", "fgd", "mgd", "pkd", "cwd"] = "none"
    """The feature loss on clean images."""
    fgd: Fgd = Fgd()
    """Used when host is fgd."""
    mgd: Mgd = Mgd()
    """Used when host is mgd."""
    pkd: Pkd = Pkd()
    """Used when host is pkd."""
    cwd: Cwd = Cwd()
    """Used when host is cwd."""
    reduction: Literal["published", "mean"] = "published"
    """Published normaliser of each loss, or a mean over elements."""
    rescale_from: Reference | None = None
    """Rescale sum-reduced weights from this input to the recipe's own; null uses the weights as written."""
