"""What distillation has made of a student, beside its teacher: the analyses of Liang et al. (IKD, ACM MM 2023)."""

from ikd.ops import install

install()  # before mmdet, which looks for kernels and chatters when it is imported

from ikd.analyses.agreement import analyze_confusion  # noqa: E402
from ikd.analyses.attention import analyze_heatmaps  # noqa: E402
from ikd.analyses.fidelity import analyze_fidelity  # noqa: E402
from ikd.analyses.finding import Finding  # noqa: E402
from ikd.analyses.fourier import analyze_fourier  # noqa: E402
from ikd.analyses.frequency import analyze_frequency  # noqa: E402
from ikd.analyses.pair import Pair, find_pair  # noqa: E402
from ikd.analyses.robustness import analyze_robustness  # noqa: E402
from ikd.analyses.spectra import split_frequencies  # noqa: E402

__all__ = [
    "Finding",
    "Pair",
    "analyze_confusion",
    "analyze_fidelity",
    "analyze_fourier",
    "analyze_frequency",
    "analyze_heatmaps",
    "analyze_robustness",
    "find_pair",
    "split_frequencies",
]
