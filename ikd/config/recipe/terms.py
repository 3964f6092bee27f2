"""The sections of a recipe that say how to distil: augmentation, attack and loss terms, with the published defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ikd.config.recipe.hosts import HOSTS, Hosts
from ikd.config.recipe.instance_hosts import CrossKdRoi
from ikd.config.recipe.labels import Labels, SoftLabels
from ikd.config.recipe.loss_section import Term
from ikd.config.recipe.responses import RESPONSES, Response
from ikd.config.recipe.taps import TapsSection
from ikd.config.section import Count, NonNegative, Positive, Probability, Section, Weight

Level = Annotated[int, Field(ge=0)]
"""A place among the levels that student and teacher both have, 0 the finest; no stride, and no number of a P."""


def _word_or_list(value: Any) -> str:
    return "word" if isinstance(value, str) else "list"


Levels = Annotated[
    Annotated[Literal["auto", "all"], Tag("word")] | Annotated[tuple[Level, ...], Tag("list")],
    Discriminator(_word_or_list),
]
"""Which levels; a discriminator, so that a wrong word is refused as a word."""


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
    """Share of each stage after which IKD's noise and crop and the adversarial term stop; with one teacher, of the
    schedule. Masking enhancement has distill.me.stop_fraction."""
    published: bool = False
    """Reproduce the authors' pipeline where ours differs (integer areas, one crop window per branch)."""


class Diversity(Section):
    """Input diversity of DI-FGSM."""

    probability: Probability = 0.5
    """Probability of the random resize-and-pad at each attack step."""
    min_scale: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Smallest scale factor."""


MAX_EPS = 127.0
"""Largest `attack.eps`: a perturbation is stored in eight bits."""


class Attack(Section):
    """How adversarial copies are made against the teacher (DI-FGSM, MI-FGSM)."""

    eps: NonNegative = 8.0
    """Largest change of a pixel, in grey levels of 0..255: 0, or 1 to 127."""
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
    store: Literal["disk", "online"] = "disk"
    """`disk` makes the copies once and keeps their perturbations; `online` makes them anew for each training batch, on
    the device that trains: no space, but the teacher's `steps` forward and backward passes in every step."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of what the attack draws. Apart from the recipe's, so that repeats over seeds share their perturbations."""
    published: bool = False
    """Reproduce the authors' attack where ours differs (range-scaled eps, square diversity, unmoved boxes)."""


class Adversarial(Term):
    """IKD's feature loss on adversarial copies."""

    summed = True
    beside = ("enabled", "updates_statistics")

    enabled: bool = True
    """Switch."""
    updates_statistics: bool = False
    """Let batch norms that are learning follow the adversarial copies too, as the authors' code does; validation then
    normalises by statistics of which half and more are those of perturbed images."""
    weight: Weight = 1e-5
    """alpha_adv (reduction R1: sum over elements, divided by the batch)."""
    distance: Literal["mse", "l1", "cwd", "pkd"] = "mse"
    """Distance between student and teacher features."""


class MaskingEnhancement(Section):
    """ME of DFMSD: noise where the previous teacher sees little, a crop where it sees much; settings under augment."""

    enabled: bool = False
    """Switch."""
    form: Literal["replaced", "added"] = "replaced"
    """How an altered image counts: in place of the clean one, with distill.dfmsd.beta for alpha, at no cost; or in
    addition to it with beta, by a second pass of student and teacher (Eq. 6 to 8; host dfmsd)."""
    stages: Literal["first", "last", "both"] = "last"
    """The stages it acts in; `both` is every stage."""
    stop_fraction: Probability = 1.0
    """Share of each such stage after which it stops."""
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
    levels: tuple[Level, ...] = (0, 1, 2)
    """Which of the levels that both detectors have, 0 the finest; those that `distill.levels` leaves out are left out
    here too."""
    weight: Weight = 1.0
    """Weight of the extra term; PKD's own are 10, and 6 for a two-stage teacher."""


class PrototypeSection(Section):
    """Global Knowledge (PGM and RDM; Tang et al., ECCV 2022): instances of each class that stand for all.

    They are chosen in both detectors' features, and student and teacher are compared by them on each box.
    """

    enabled: bool = False
    """Switch."""
    method: Literal["greedy", "kmeans", "dbscan", "random", "ambiguous"] = "greedy"
    """How prototypes are chosen: PGM's greedy steps, or what its Table 6 compares them with."""
    space: Literal["teacher", "student"] = "teacher"
    """Whose features kmeans and dbscan look at."""
    count: Count = 10
    """K, largest number of prototypes of a class on a level; a class with fewer candidates has fewer."""
    strength: NonNegative = 10.0
    """lambda, how much a prototype must mean the same in both spaces."""
    bandwidth: Positive = 0.1
    """Of the density by which greedy takes candidates, and the reach of a neighbour for dbscan, in 1 - cosine."""
    quantile: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.4
    """Share of the instances, the least dense in either space, that are no candidates of greedy."""
    images_per_class: Count = 800
    """Largest number of training images, drawn by the seed, in which a class's instances are looked for."""
    min_side: NonNegative = 30.0
    """Instances are wider and higher than this, in pixels of the original image."""
    every: Positive = 1.0
    """T_p, epochs after which prototypes are chosen anew by the student as it is then."""
    coefficients: Literal["cosine", "ridge"] = "cosine"
    """What is compared: cosines with the prototypes, as the authors' code, or the coefficients u and v of Eq. 2, whose
    difference is (1 + 2 lambda) times smaller."""
    global_weight: Weight = 5.0
    """Of the difference between coefficients on all prototypes."""
    feature_weight: NonNegative = 1.0
    """Of squared differences between maps, in boxes by their reliability; above 0 it has adapters that learn."""
    background_weight: Weight = 4.0
    """Of cells outside of boxes, within the feature loss."""
    response_weight: NonNegative = 1.0
    """Of the divergence between the heads' class scores, each place by its reliability; 0 leaves them out, so that the
    two heads may differ."""
    response_temperature: Positive = 2.0
    """Temperature of those class scores."""
    attenuate: bool = True
    """The global and the feature loss fade to 0 over the training, by 1 - epoch / epochs."""
    couples: bool = False
    """Prototypes act within the host too (the paper's Table 4): rkd compares objects with prototypes and not with one
    another, defeat and vkd weigh objects by their reliability."""


class Agreement(Section):
    """Weights of the distillation terms that follow how well each agrees with detection (a stand-in for ReAL).

    ReAL (Wang et al., IEEE TIP 2024) takes distillation as an auxiliary task whose weights adapt in training. No code,
    and no more than its abstract, is known, so the rule is ours: never report it as the authors' own.
    """

    enabled: bool = False
    """Switch."""
    eta: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Speed: the share of the last step in the mean cosine between the gradients of detection and term on the student's
    neck. 1 looks at the last step alone, 0.01 at about a hundred."""
    lowest: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Factor of a term's own weights where it pulls against detection throughout (mean cosine -1); at 0 it is 1."""
    highest: Annotated[float, Field(ge=1.0)] = 10.0
    """Factor where it pulls as detection does (mean cosine 1)."""


ConfidentTerm = Literal["host", "sfa", "prototypes", "adversarial"]
"""The terms between features that can be weighed by cosine confidence."""


class Reference(Section):
    """Padded input and channels at which the weights were tuned."""

    width: Count = 1088
    """Padded width in pixels."""
    height: Count = 800
    """Padded height in pixels."""
    channels: Count = 256
    """Channels of the pyramid."""


class Distill(Hosts):
    """Distillation on clean images."""

    me: MaskingEnhancement = MaskingEnhancement()
    """Masking enhancement."""
    sfa: SemanticAlignment = SemanticAlignment()
    """Semantic feature alignment."""
    prototypes: PrototypeSection = PrototypeSection()
    """Global Knowledge."""
    labels: Labels = Labels()
    """The teacher's boxes as labels."""
    response: Response = Response()
    """Losses between what the heads predict, beside the host or with host none."""
    confidence: tuple[ConfidentTerm, ...] = ()
    """CCD (Li et al., ACCV 2022, there of logits): the terms in which an altered image counts 1 + cos, from 0 to 2,
    between the teacher's features of it and of the image before, averaged over cells on each level; others count 1.
    Altered are images by `input.joint` and noise, and, for `adversarial`, all copies. A term so weighed is computed
    image by image, which changes those that compare the images of a batch (pkd, rkd)."""
    agreement: Agreement = Agreement()
    """Weights that follow how well terms agree with detection."""
    levels: Levels = "auto"
    """Which of the levels that both detectors have are distilled, by host, sfa and adversarial term alike: all of
    them, those listed (0 the finest), or all but the coarsest whose anchors or ranges no training box reaches at this
    input size. Predictions (host crosskd) are compared on every level."""
    taps: TapsSection = TapsSection()
    """Where the maps are read."""
    match: Literal["stride", "index"] = "stride"
    """Which levels are a pair: those of one stride, or the finest with the finest and so on, the student's map then
    resized to the teacher's (bilinear), as PKD does between families."""
    reduction: Literal["published", "mean", "variance"] = "published"
    """Published normaliser of each loss, a mean over elements, or that mean between maps divided by the standard
    deviation of the teacher's on that level: a squared error is then in units of the teacher's variance."""
    rescale_from: Reference | None = None
    """Rescale sum-reduced weights from this input to the recipe's own; null uses the weights as written."""
    stop_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of a stage after which nothing of the teacher acts any more, in whole epochs and at least one: mmyolo ends
    at epoch 280 of 300 (0.9333), with the mosaic."""
    keep_strength: bool = True
    """Multiply the weights of sums over cells by the cells of the student's whole pyramid over those of the levels
    that are compared, so that a sum over fewer levels keeps its published strength; logged as weight/cells_factor."""
    measure_gradients: bool = True
    """Log once an epoch how hard each term pulls on the student's backbone, relative to the detection loss, as
    grad/TERM; changes no training, and costs a backward pass an epoch and term."""
    teacher_precision: Literal["as_student", "float32", "float16", "bfloat16"] = "as_student"
    """Type that the frozen teacher's backbone and neck compute in, by autocast; `as_student` follows `schedule.amp`."""


WITHOUT_TEACHER: Mapping[str, Any] = {
    "distill.host": "none",
    "distill.me.enabled": False,
    "distill.sfa.enabled": False,
    "distill.prototypes.enabled": False,
    "distill.labels.enabled": False,
    **{f"distill.response.{name}.enabled": False for name in RESPONSES},
    "distill.confidence": [],
    "distill.agreement.enabled": False,
    "adversarial.enabled": False,
    "student.inherit": False,
    "teachers.together": False,
}
"""What needs a teacher, by dotted name, and its value where there is none."""

COUPLED = ("defeat", "rkd", "vkd")
"""Hosts that prototypes can act within."""

STUDENT_ALONE: Mapping[str, Any] = {
    **WITHOUT_TEACHER,
    "augment.enabled": False,
    "teachers.sequence": [],
    "schedule.epochs_per_stage": None,
}
"""The values that make a recipe the student without distillation."""

LOSSES: Mapping[str, type[Term]] = {**HOSTS, "adversarial": Adversarial}
"""The declarations of all losses, by their names."""
RESPONSE_LOSSES: Mapping[str, type[Term]] = {
    **RESPONSES,
    "soft_labels": SoftLabels,
    "crosskd_roi": CrossKdRoi,
}
"""The sections of all losses between heads on their common view; hosts have some of them too."""
