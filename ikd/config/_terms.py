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
    """Share of each stage after which noise, crop and adversarial term stop; with one teacher, of the schedule."""
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


class Fbkd(Section):
    """Feature-based KD (FKD in the papers' tables): attention-masked features and non-local relations."""

    temperature: Positive = 0.1
    """Temperature of the attention maps (t)."""
    w_feature: NonNegative = 4.2e-4
    """Weight of the feature and non-local terms (w1)."""
    w_attention: NonNegative = 2.4e-2
    """Weight of the attention terms (w2)."""
    channel_mask: bool = True
    """Weigh features by channel attention too (the one-stage recipe)."""


class FitNet(Section):
    """FitNet hints, in the joint form."""

    weight: NonNegative = 1.0
    """Weight."""


class Amd(Section):
    """Adaptive Masking Distillation (a reconstruction: the paper has no public code)."""

    alpha: NonNegative = 2e-5
    """Weight."""
    mask_ratio: Probability = 0.65
    """Share of cells masked, those of highest teacher attention."""
    se_side: Literal["student", "both", "none"] = "student"
    """What the channel gate acts on: the restored map, it and the teacher's, or nothing."""


class Dmkd(Section):
    """Dual Masking KD (a reconstruction: the paper has no public code)."""

    alpha: NonNegative = 2e-5
    """Weight."""
    spatial_mask_ratio: Probability = 0.65
    """Share of cells masked, those of highest teacher attention."""
    channel_mask_ratio: Probability = 0.15
    """Share of channels masked, those of highest teacher attention."""
    se: bool = True
    """Channel gate on the channel-masked branch."""


class Dfmsd(Dmkd):
    """Dual masking of DFMSD (a reconstruction: the paper has no public code)."""

    beta: NonNegative = 1e-5
    """Weight of images that masking enhancement has altered; the others count with alpha."""


class CrossKd(Section):
    """CrossKD: student tower features through the teacher's head."""

    position: Annotated[int, Field(ge=0)] = 3
    """Tower convolution after which the student's feature crosses over (i); 0 is the neck's output."""
    w_cls: NonNegative = 1.0
    """Weight of the classification term."""
    w_reg: NonNegative = 1.0
    """Weight of the box term."""
    beta: NonNegative = 1.0
    """Exponent of the quality-focal modulation."""


class MaskingEnhancement(Section):
    """ME of DFMSD: noise where the previous teacher sees little, a crop where it sees much; settings under augment."""

    enabled: bool = False
    """Switch."""
    stages: Literal["first", "last", "both"] = "last"
    """The stages it acts in; `both` is every stage."""
    theta: Positive = 0.5
    """An image gets noise when the boxes of the previous teacher cover less than this share of it, else a crop."""
    min_score: Probability = 0.3
    """Lowest score of a box that counts."""


class SemanticAlignment(Section):
    """SFA of DFMSD: standardised features, as in PKD, on some levels."""

    enabled: bool = False
    """Switch."""
    mode: Literal["extra_loss", "standardise_inputs"] = "extra_loss"
    """An extra Pearson term, or a host that sees standardised maps."""
    levels: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2)
    """Levels both detectors have, 0 the finest."""
    weight: NonNegative = 10.0
    """Weight of the extra term."""


class Reference(Section):
    """Padded input and channels at which the weights were tuned."""

    width: Count = 1088
    """Padded width in pixels."""
    height: Count = 800
    """Padded height in pixels."""
    channels: Count = 256
    """Channels of the pyramid."""


class Distill(Section):
    """Distillation on clean images."""

    host: Literal["none", "fgd", "mgd", "fbkd", "cwd", "pkd", "fitnet", "amd", "dmkd", "dfmsd", "crosskd"] = "none"
    """The loss on clean images."""
    fgd: Fgd = Fgd()
    """Used when host is fgd."""
    mgd: Mgd = Mgd()
    """Used when host is mgd."""
    fbkd: Fbkd = Fbkd()
    """Used when host is fbkd."""
    cwd: Cwd = Cwd()
    """Used when host is cwd."""
    pkd: Pkd = Pkd()
    """Used when host is pkd."""
    fitnet: FitNet = FitNet()
    """Used when host is fitnet."""
    amd: Amd = Amd()
    """Used when host is amd."""
    dmkd: Dmkd = Dmkd()
    """Used when host is dmkd."""
    dfmsd: Dfmsd = Dfmsd()
    """Used when host is dfmsd."""
    crosskd: CrossKd = CrossKd()
    """Used when host is crosskd."""
    me: MaskingEnhancement = MaskingEnhancement()
    """Masking enhancement."""
    sfa: SemanticAlignment = SemanticAlignment()
    """Semantic feature alignment."""
    reduction: Literal["published", "mean"] = "published"
    """Published normaliser of each loss, or a mean over elements."""
    rescale_from: Reference | None = None
    """Rescale sum-reduced weights from this input to the recipe's own; null uses the weights as written."""
