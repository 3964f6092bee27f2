"""A sweep in Markdown: what it seeks, what it has found, and how to go on from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ikd.config import DRAWN, SearchSpace, SweepFiles
from ikd.sweep.confirm.facts import measured
from ikd.sweep.confirm.standing import Standing
from ikd.sweep.effects.told import POINTS
from ikd.sweep.records.text import decimals_of, percent
from ikd.sweep.records.trials import ANCHOR_NAMES, RANKED_BY, TrialRecord, ranked, shown_anchors
from ikd.sweep.view.ranking import choice_lines, described, ended_how
from ikd.tracking import code, markdown_table, plain
from ikd.trial import OPEN

LONGEST = 7500
"""Characters; MLflow keeps 8000."""
MOST_ROWS = 20


def story(name: str, files: SweepFiles, records: Sequence[TrialRecord], known: Standing | None) -> str:
    """Return the description of a sweep; of a long table the first rows, so that all of it is kept.

    Args:
        name: of the sweep.
        files: of it.
        records: every trial.
        known: of them.
    """
    for rows in range(MOST_ROWS, 0, -2):
        text = "\n\n".join(_parts(name, files, records, known, rows))
        if len(text) <= LONGEST:
            return text
    return text[:LONGEST]


def _parts(
    name: str, files: SweepFiles, records: Sequence[TrialRecord], known: Standing | None, rows: int
) -> Iterator[str]:
    yield _sought(files)
    yield _found(files.space, records, known)
    if records:
        yield _table(files.space, records, known, rows)
    yield _anchors(files.space, records)
    yield _units(files)
    yield _onwards(name, exportable=any(one.metric is not None for one in records))


def _sought(files: SweepFiles) -> str:
    objective, data = files.space.objective, files.recipe.data.root
    way = "highest" if objective.mode == "max" else "lowest"
    what = f"**Sought**: the recipe with the {way} {code(objective.metric)}; a trial counts with "
    what += f"{RANKED_BY[objective.value]}. Base recipe {code(files.recipe.name)}, data "
    what += "drawn by ikd" if data == DRAWN else code(data)
    return f"{what}." + (f" {plain(files.space.description)}" if files.space.description else "")


def _found(space: SearchSpace, records: Sequence[TrialRecord], known: Standing | None) -> str:
    running = sum(one.state in OPEN for one in records)
    head = f"**Found** by {len(records) - running} ended trials" + (f", {running} have not ended" if running else "")
    if known is None:
        return f"{head}: no configuration of the search has finished yet."
    return f"{head}:\n\n" + "\n".join(f"* {plain(line)}" for line in choice_lines(space, records, known))


def _table(space: SearchSpace, records: Sequence[TrialRecord], known: Standing | None, rows: int) -> str:
    """Return the trials in the order of every table: configurations by what is expected, then the rest."""
    mode = space.objective.mode
    ordered = ranked(records, mode)
    if known is not None:
        heads = [one.trainings[0] for one in known.configurations]
        ordered = [*heads, *(one for one in ordered if one.number not in {head.number for head in heads})]
    decimals = decimals_of(one.metric for one in ordered)
    anchors = shown_anchors(records, mode)
    titles = ["trial", "", "expected", "P(best)", "seen", *(f"vs {ANCHOR_NAMES[name]}" for name in anchors), "state"]
    lines = []
    for record in ordered[:rows]:
        own = known.of(record) if known is not None else None
        expected, chance = "", ""
        if own is not None and known is not None:
            half = percent((own.interval[1] - own.mean) / POINTS, decimals=decimals)
            expected = f"{percent(measured(space, own.mean), decimals=decimals)} ± {half}"
            chance = f"{known.chances[own.number]:.2f}"
        gains = [percent(record.against(one), sign=True, decimals=decimals) for one in anchors.values()]
        seen = percent(record.metric, decimals=decimals)
        state = plain(ended_how(record))
        lines.append([str(record.number), plain(described(record, space)), expected, chance, seen, *gains, state])
    more = f"\n{len(ordered) - rows} more are in {code('ikd status')}.\n" if len(ordered) > rows else ""
    numbers = [0, *range(2, len(titles) - 1)]
    return f"{space.objective.metric} x100, best first; expected: over seeds, ± 90 %.\n\n" + (
        markdown_table(titles, lines, right=numbers) + more
    )


def _anchors(space: SearchSpace, records: Sequence[TrialRecord]) -> str:
    if not space.anchors:
        return "**Anchors**: none."
    numbers = {name: one.number for one in records for name in one.anchors}
    parts = [ANCHOR_NAMES[name] + (f" (trial {numbers[name]})" if name in numbers else "") for name in space.anchors]
    return f"**Anchors**, what the search is compared with: {', '.join(parts)}."


def _units(files: SweepFiles) -> str:
    metric = files.space.objective.metric
    return (
        f"Metrics of runs are 0 to 1; ikd's tables, and the one above, have them x100. Trials are ranked by "
        f"{code('value')}: what is expected of a configuration, over seeds. {code(f'best/{metric}')} is the best "
        f"epoch, and luck in part; {code('gain/...')} is between single trainings. ★ is the choice, ▲ the best seen. "
        f"Stopped trials are FINISHED to MLflow, and say so in {code('ikd.state')}. A parameter that a trial has not "
        f"reads {code('none')}."
    )


def _onwards(name: str, *, exportable: bool) -> str:
    export = f"ikd export {name} --to student    # the chosen student for plain mmdet\n" if exportable else ""
    return (
        f"```sh\nikd status {name}\n{export}ikd ui {name}                  # this sweep's runs, ranked\n"
        f"ikd track rebuild {name}       # writes all of this again from the study\n```"
    )
