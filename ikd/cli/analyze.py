"""The commands that analyze a student beside its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ikd.cli.arguments import echo, expanded, folder_to_make, names_of_sweeps, numbers_of_trials

if TYPE_CHECKING:
    from ikd.analyses import Finding

TO = Path("analysis")
Student = Annotated[
    str,
    typer.Argument(help="Folder of an exported student, or the name of a sweep.", autocompletion=names_of_sweeps),
]
Trial = Annotated[
    int | None, typer.Argument(help="Of a sweep: the number of a trial.", autocompletion=numbers_of_trials)
]
To = Annotated[Path, typer.Option(callback=folder_to_make, help="Folder for the picture and the figures (JSON).")]
Teacher = Annotated[
    str | None, typer.Option(help="Which of the recipe's teachers; without it, the last of its sequence.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(callback=expanded, help="Where the data set lies now; without it, where the recipe says."),
]
Score = Annotated[
    float, typer.Option(min=0, max=1, help="The teacher's boxes of a score above this count as objects, 0..1.")
]


def analyzed(
    name: str, student: str, trial: int | None, to: Path, teacher: str | None, data_root: Path | None, **asked: Any
) -> None:
    """Find a student with its teacher, analyze the two by `ikd.analyses.analyze_NAME`, and print what is found."""
    from ikd.progress import Steps

    with Steps() as steps:
        steps.next("looking for student and teacher")
        from ikd import analyses

        pair = analyses.find_pair(student, trial, teacher=teacher, data_root=data_root)
        steps.next("loading what analyzes")
        finding = getattr(analyses, f"analyze_{name}")(pair, to, progress=steps.count, **asked)
    tell(finding)


def tell(finding: Finding) -> None:
    """Print what an analysis has found, and where its files are."""
    from ikd.progress import wide_console

    wide_console().print(finding.table())
    for line in (*finding.said, *map(str, finding.files)):
        echo(line)


def fidelity(
    student: Student,
    trial: Trial = None,
    score: Score = 0.3,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """AP of a student against its teacher's boxes.

    The teacher itself has 100. As in Table 4 of the IKD paper.

    Example: ikd analyze fidelity mine 3
    Example: ikd analyze fidelity student --to analysis
    """
    analyzed("fidelity", student, trial, to, teacher, data_root, score=score)


def confusion(
    student: Student,
    trial: Trial = None,
    score: Score = 0.3,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """Which of the teacher's classes a student takes for which.

    As in Figure 7 of the IKD paper.

    Example: ikd analyze confusion mine 3
    """
    analyzed("confusion", student, trial, to, teacher, data_root, score=score)


def fourier(
    student: Student,
    trial: Trial = None,
    images: Annotated[int, typer.Option(min=1, help="The first so many photographs of the validation part.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of noise and crops.")] = 0,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """Which frequencies flip, crop and noise change.

    On the validation photographs, with noise and crop of the student's recipe. As in Figure 4 of the IKD paper.

    Example: ikd analyze fourier mine 3
    """
    analyzed("fourier", student, trial, to, teacher, data_root, images=images, seed=seed)


def frequency(
    student: Student,
    trial: Trial = None,
    bins: Annotated[int, typer.Option(min=1, help="Low are up to so many periods a side.")] = 30,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """AP of teacher and student by low and by high frequencies.

    As in Figure 2 of the IKD paper.

    Example: ikd analyze frequency mine 3 --bins 20
    """
    analyzed("frequency", student, trial, to, teacher, data_root, bins=bins)


def robustness(
    student: Student,
    trial: Trial = None,
    eps: Annotated[
        list[float] | None,
        typer.Option(
            min=1, max=127, help="Largest change of a pixel, grey levels; without one, the recipe's. Repeatable."
        ),
    ] = None,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """AP of teacher and student on perturbed photographs.

    The attack of the student's recipe against the teacher, on the validation part.

    Example: ikd analyze robustness mine 3 --eps 2 --eps 8
    """
    analyzed("robustness", student, trial, to, teacher, data_root, eps=eps or ())


def heatmaps(
    student: Student,
    trial: Trial = None,
    count: Annotated[
        int, typer.Option(min=1, help="Photographs that are drawn: those in which the two differ most.")
    ] = 3,
    to: To = TO,
    teacher: Teacher = None,
    data_root: DataRoot = None,
) -> None:
    """Where teacher and student look, as heat maps.

    The attention of their features, compared over the validation part.

    Example: ikd analyze heatmaps mine 3
    """
    analyzed("heatmaps", student, trial, to, teacher, data_root, count=count)


def backdoor(
    on: Annotated[
        Literal["classifier", "detector"], typer.Option(help="Poison a classifier of digits, or a small detector.")
    ] = "classifier",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each network, from seed 0 on.")] = 5,
    to: To = TO,
) -> None:
    """Measure what NAD, and NAD with IKD, leave of a backdoor.

    In a small classifier or detector that is poisoned and trained here: no student is asked. As in Table 5 of the IKD
    paper; the detector is an extension of it, and takes minutes for each seed.

    Example: ikd analyze backdoor --seeds 3
    Example: ikd analyze backdoor --on detector --seeds 2
    """
    from ikd.progress import Steps

    with Steps() as steps:
        steps.next("loading what poisons and defends")
        from ikd.analyses import analyze_backdoor, analyze_trigger

        analyze_it = analyze_backdoor if on == "classifier" else analyze_trigger
        finding = analyze_it(to, seeds=seeds, progress=steps.count)
    tell(finding)
