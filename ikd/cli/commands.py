"""The `ikd` command: its options, and what runs, trains, checks and exports."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ikd.cli import analyze, look, recipes
from ikd.cli.arguments import (
    Name,
    Sets,
    WarmStarted,
    echo,
    expanded,
    expanded_text,
    folder_to_make,
    names_of_sweeps,
    refuse_unknown,
)
from ikd.errors import BadInput, IkdError
from ikd.progress import Loudness, PlainConsole, set_loudness
from ikd.signals import Ended, advising, ended_by_signals, tell
from ikd.trust import trust_code

app = typer.Typer(
    help="Search for the recipe that distils a big detector into a small one best.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Check, draw, divide or import data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
space_app = typer.Typer(help="Look at search spaces.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(space_app, name="space")
track_app = typer.Typer(help="The tracker's copy of sweeps.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(track_app, name="track")

recipe_app = typer.Typer(help="Look at shipped recipes, and at your own.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(recipe_app, name="recipe")
recipe_app.command("list")(recipes.list_recipes)
recipe_app.command("show")(recipes.show_recipe)

analyze_app = typer.Typer(help="Analyze a student beside its teacher.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(analyze_app, name="analyze")
for analysis in (
    analyze.fidelity,
    analyze.confusion,
    analyze.fourier,
    analyze.frequency,
    analyze.robustness,
    analyze.heatmaps,
    analyze.backdoor,
):
    analyze_app.command()(analysis)


def _version(wanted: bool) -> None:
    if wanted:
        from ikd import __version__

        echo(f"ikd {__version__}")
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what mmdet and Ray say, too.")] = False,
    trusted: Annotated[
        bool, typer.Option("--trust-code", help="Let detector configs run code: you know who wrote them.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Search for the recipe that distils a big detector into a small one best."""
    if quiet and verbose:
        raise BadInput("ikd: --quiet: must not come with --verbose")
    set_loudness(Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.USUAL)
    if trusted:
        trust_code()


def main() -> None:
    """Run the command; a known error is one message and its exit status, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names come from data, any locale prints
    try:
        with ended_by_signals():
            app(prog_name="ikd")
    except Ended as ended:
        sys.exit(tell(ended))
    except IkdError as error:
        PlainConsole(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}")
        sys.exit(error.exit_status)


@app.command(cls=WarmStarted)
def sweep(
    space: Annotated[Path, typer.Argument(callback=expanded, help="Search-space file, e.g. search_spaces/ikd.yaml.")],
    runner: Annotated[
        Path | None, typer.Option(callback=expanded, help="Runner file; without one, one trial at a time here.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name; without one, that of the file.")] = None,
    sets: Sets = None,
    trials: Annotated[
        str | None, typer.Option(help="Trials instead of budget.trials; +20: twenty more once the sweep is complete.")
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(help="At the first start: sweeps whose trials teach this one's sampler, one name or several."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again, after what failed them was mended.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on though the anchors have learnt nothing; remembered.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run at what cost; start nothing.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --dry-run: train one epoch here for the forecast.")
    ] = False,
) -> None:
    """Start a sweep; the same command resumes or extends it.

    Example: ikd sweep search_spaces/ikd.yaml --runner runners/local.yaml --set data.root=my/coco --name mine
    """
    from ikd import sweep as sweeps
    from ikd.config import load_sweep, parse_sets
    from ikd.errors import BadInput
    from ikd.progress import Steps, working

    values = parse_sets(sets or [])
    if measure and not dry_run:
        raise BadInput("--measure: must come with --dry-run")
    for option, given in {"--retry-failed": retry_failed, "--force": force, "--warm-start": warm_start}.items():
        if given and dry_run:
            raise BadInput(f"{option}: must come without --dry-run, which starts nothing")
    load_sweep(space, runner, values)  # a fault of a file is told at once: before what is slow is loaded, or announced
    if dry_run:
        with Steps() as steps:
            steps.next("looking at what is there")
            try:
                plan = sweeps.dry_run(
                    space,
                    runner=runner,
                    name=name,
                    values=values,
                    trials=trials,
                    measure=measure,
                    check=True,
                    progress=steps.next,
                )
            except KeyboardInterrupt:
                steps.done()
                echo("interrupted; what was measured is kept for the next dry run")
                raise typer.Exit(130) from None
        sweeps.wide_console().print(plan.render())
        return
    with working("loading what runs a sweep"):
        run_sweep = sweeps.run_sweep
    result = run_sweep(
        space,
        runner=runner,
        name=name,
        values=values,
        trials=trials,
        warm_start=warm_start,
        retry_failed=retry_failed,
        force=force,
    )
    raise typer.Exit(result.exit_status)


app.command("status")(look.status)
app.command("list")(look.list_sweeps)
app.command("show")(look.show)
app.command("compare")(look.compare)
app.command("report")(look.report)


@app.command()
def stop(name: Name) -> None:
    """Save and end a running sweep; its own command resumes it.

    Example: ikd stop mine
    """
    with look.reading(name):
        from ikd.sweep import stop_sweep

        stopped = stop_sweep(name)
    echo(f"{name}: saving and ending" if stopped else f"{name}: is not running")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name, or a recipe file.")],
    to: Annotated[Path, typer.Option(help="Folder for checkpoints and log.", callback=folder_to_make)] = Path("trial"),
    sets: Sets = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pth in the folder.")] = False,
) -> None:
    """Train one recipe, without a sweep.

    Example: ikd train drawn_r18 --set distill.host=mgd --to out
    """
    from ikd.config import load_recipe, parse_sets

    loaded = load_recipe(recipe, parse_sets(sets or []))
    from ikd.progress import Steps, say
    from ikd.trial import checkpoint_in

    checkpoint = checkpoint_in(to, resume=resume)  # what is given is judged before what is slow is loaded
    with Steps() as steps, advising(lambda: how_to_go_on(to)):
        steps.next("looking at the data")
        from ikd.data import said_of_data

        steps.tell(said_of_data(loaded))
        steps.next("loading what trains")
        from ikd.training import (  # after the recipe is right: it is slow
            EpochReport,
            how_to_go_on,
            prepare,
            run_trial,
        )

        def show(report: EpochReport) -> None:
            steps.done()
            say(report.line(loaded.total_epochs))
            if report.epoch < loaded.total_epochs:
                steps.next(f"epoch {report.epoch + 1}")

        steps.next("trying the recipe on two images")
        prepared = prepare(loaded, steps.count)
        steps.next("training to the first validation")
        result = run_trial(loaded, show, checkpoint, directory=to, prepared=prepared)
    best, last = (100 * metrics["bbox_mAP"] for metrics in (result.metrics, result.last_metrics))
    echo(f"best mAP {best:.1f} at epoch {result.best_epoch}: {result.best}")
    echo(f"last mAP {last:.1f} at epoch {result.epochs}")


@app.command()
def attack(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe name, or a recipe file.")],
    sets: Sets = None,
) -> None:
    """Make the perturbations of a recipe's teachers.

    Says how well they fool the teachers.

    Example: ikd attack drawn_r18 --set attack.eps=4
    """
    from ikd.config import load_recipe, parse_sets
    from ikd.progress import Steps

    loaded = load_recipe(recipe, {"adversarial.enabled": True} | parse_sets(sets or []))
    with Steps() as steps, advising(lambda: "what is made of the perturbations is kept, and the same command goes on"):
        steps.next("looking at the data")
        from ikd.data import said_of_data

        steps.tell(said_of_data(loaded))
        steps.next("loading what attacks")
        from ikd.attack import PerturbationStore
        from ikd.training import perturb

        steps.next("trying the recipe on two images")
        folders = perturb(loaded, steps.count)
    for teacher, folder in folders.items():
        echo(PerturbationStore.open(folder).line(teacher))
        echo(str(folder))


@app.command()
def export(
    name: Name,
    to: Annotated[
        Path, typer.Option(help="Folder for the student; an earlier export there is replaced.", callback=folder_to_make)
    ],
    pick: Annotated[
        str, typer.Option(help="best, knee (of the Pareto front, with costs), or a trial's number.")
    ] = "best",
    register: Annotated[str | None, typer.Option(help="Also register as a version of this MLflow model.")] = None,
    alias: Annotated[
        str | None, typer.Option(help="With --register: this alias leads to the version, unless it is at a better one.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --alias: move it though the student is worse, or not comparable.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write student.onnx; needs pip install ikd[onnx].")] = False,
    data_root: Annotated[
        Path | None,
        typer.Option(callback=expanded, help="Where the data set lies now; without it, where the recipe says."),
    ] = None,
) -> None:
    """Write the best student for plain mmdet.

    A config and a checkpoint, evaluated again, with a card.

    Example: ikd export mine --to student

    Example: ikd export mine --to student --register fish --alias champion
    """
    from ikd.progress import Steps

    refuse_unknown(name)
    with Steps() as steps:
        steps.next("loading what exports")
        from ikd.export import export_sweep, parse_pick

        chosen = parse_pick(pick)
        exported = export_sweep(
            name,
            to,
            pick=chosen,
            register=register,
            alias=alias,
            force=force,
            onnx=onnx,
            data_root=data_root,
            progress=steps.count,
        )
    echo(exported.summary())


@app.command()
def ui(
    name: Annotated[
        str | None,
        typer.Argument(help="Sweep to show, ranked; without one, the newest.", autocompletion=names_of_sweeps),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in your browser, too.")] = False,
) -> None:
    """Show sweeps in MLflow; Ctrl-C ends it.

    Over the local store it starts MLflow's UI on this machine alone; of a server it prints the pages of the sweep.

    Example: ikd ui mine --port 5001
    """
    from ikd.home import home
    from ikd.progress import working

    if name is not None:
        refuse_unknown(name)
    with working("loading MLflow"):
        from ikd.sweep import show_in_tracker
        from ikd.tracking import serve_ui

    if name is not None:
        raise typer.Exit(show_in_tracker(name, port=port, browser=browser))
    raise typer.Exit(serve_ui(home(), port=port, browser=browser))


@app.command()
def doctor() -> None:
    """Report versions, GPU, kernels and disk.

    With what to do about each fault.

    Example: ikd doctor
    """
    from ikd.progress import wide_console, working

    with working("looking at this machine") as work:
        from ikd.doctor import exit_status, render
        from ikd.doctor_apart import diagnose_apart

        checks = diagnose_apart(work.mention)
    wide_console().print(render(checks))
    raise typer.Exit(exit_status(checks))


@space_app.command("show")
def space_show(
    space: Annotated[Path, typer.Argument(callback=expanded, help="Search-space file.")],
    sets: Sets = None,
) -> None:
    """Print a search space as a table.

    What varies, how, when, and what the paper has.

    Example: ikd space show search_spaces/ikd.yaml
    """
    from ikd.progress import working

    with working(f"reading {space}", late=True):
        from ikd import sweep as sweeps
        from ikd.config import load_sweep, parse_sets

        files = load_sweep(space, None, parse_sets(sets or []))
    sweeps.wide_console().print(sweeps.space_table(files.space, files.recipe))


@space_app.command("schema")
def space_schema(
    to: Annotated[
        Path, typer.Option(help="Folder for space.json, recipe.json and runner.json.", callback=folder_to_make)
    ],
) -> None:
    """Write the JSON schemas of the YAML files, for editors.

    Example: ikd space schema --to docs/schema
    """
    from ikd.config import write_schemas

    for path in write_schemas(to):
        echo(str(path))


@track_app.command("rebuild")
def track_rebuild(
    name: Name,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the runs that are there first.")] = False,
) -> None:
    """Write a sweep to its tracker again, from its study.

    After a tracker was lost, moved or edited.

    Example: ikd track rebuild mine
    """
    from ikd.progress import working

    refuse_unknown(name)
    with working(f"writing {name} to its tracker"):
        from ikd.sweep import rebuild_tracking

        made = rebuild_tracking(name, fresh=fresh)
    echo(f"{name}: {made.trials} runs with {made.reports} epochs are at {made.uri}")


@data_app.command("check")
def data_check(
    directory: Annotated[
        Path | None, typer.Argument(callback=expanded, help="Folder of the data set; without one, the recipe's.")
    ] = None,
    train_json: Annotated[
        str | None, typer.Option("--train", callback=expanded_text, help="Training json in the folder (train.json).")
    ] = None,
    val_json: Annotated[
        str | None, typer.Option("--val", callback=expanded_text, help="Validation json (val.json).")
    ] = None,
    test_json: Annotated[
        str | None, typer.Option("--test", callback=expanded_text, help="Test json, where there is one.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(callback=expanded_text, help="Image folder (images), or TRAIN,VAL[,TEST].")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe: print too how many images have its noise, and how many its crop.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Find what would stop or spoil a training.

    Prints boxes by size and a fingerprint, too.

    Example: ikd data check my/coco --train annotations/instances_train2017.json --images train2017,val2017

    Example: ikd data check my/coco --recipe small_r18 --set augment.area_threshold=2304
    """
    given = {"train": train_json, "val": val_json, "test": test_json, "images": images}
    named = {name: value for name, value in given.items() if value is not None}
    if recipe is not None:
        _check_for(recipe, directory, named, sets)
    if directory is None:
        raise BadInput("ikd data check: needs the folder of a data set, or --recipe")
    if sets:
        raise BadInput("ikd data check: --set goes only with --recipe")
    from ikd.progress import working

    with working(f"checking {directory}"):
        from ikd.data import check_dataset, parse_images

        report = check_dataset(directory, **named | {"images": parse_images(named["images"])} if images else named)
    echo(str(report))
    raise typer.Exit(report.exit_status)


def _check_for(name: str, directory: Path | None, named: dict[str, str], sets: list[str] | None) -> NoReturn:
    if named:
        one = next(iter(named))
        field = "data.train.images" if one == "images" else f"data.{one}.annotations"
        raise BadInput(f"ikd data check: --{one} goes only without --recipe; use --set {field}={named[one]}")
    from ikd.config import load_recipe, parse_sets
    from ikd.progress import working

    root = {} if directory is None else {"data.root": str(directory)}
    loaded = load_recipe(name, parse_sets(sets or []) | root)
    with working(f"checking the data of {loaded.name}"):
        from ikd.augment import branches_of
        from ikd.data import check_recipe_data

        report = check_recipe_data(loaded)
        found = [str(one) for one in branches_of(loaded)] if report.ok else []
    echo(str(report))
    echo("\n".join(found) if found or not report.ok else f"recipe {loaded.name} has neither noise nor crop")
    raise typer.Exit(report.exit_status)


@data_app.command("draw")
def data_draw(
    directory: Annotated[Path, typer.Argument(callback=expanded, help="Folder to make.")],
    train_images: Annotated[int, typer.Option("--train", min=10, help="Training images.")] = 240,
    val_images: Annotated[int, typer.Option("--val", min=10, help="Validation images.")] = 60,
    size: Annotated[int, typer.Option(min=128, max=4096, help="Side in pixels.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same bytes.")] = 0,
) -> None:
    """Draw a small data set that a detector learns in minutes.

    Example: ikd data draw drawn --train 100
    """
    from ikd.progress import working

    with working(f"drawing {train_images + val_images} images", late=True):
        from ikd.data import draw_dataset

        made = draw_dataset(directory, num_train=train_images, num_val=val_images, size_px=size, seed=seed)
    echo(str(made))


@data_app.command("from-voc")
def data_from_voc(
    directory: Annotated[
        Path, typer.Argument(callback=expanded, help="Folder of VOCdevkit, or of an export in VOC's form.")
    ],
    to: Annotated[
        Path | None, typer.Option(callback=folder_to_make, help="Folder for the json files; without it, the same.")
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="NAME=PLACE+PLACE: a list as VOC2007/trainval, or a folder of XML. Repeatable."),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Classes in their order, A,B,C; without it, all found.")] = None,
    zero_based: Annotated[
        bool, typer.Option("--zero-based", help="Corners are edges from 0 on, not pixels from 1 on as VOC's.")
    ] = False,
) -> None:
    """Import VOC's XML as COCO json; pictures stay where they are.

    Of VOCdevkit, trainval of 2007 and 2012 is for training and test of 2007 for validation. Difficult objects are
    ignored in training and evaluation.

    Example: ikd data from-voc VOCdevkit

    Example: ikd data from-voc VOCdevkit --part train=VOC2012/train --part val=VOC2012/val --to my/voc
    """
    from ikd.progress import working

    named = [one.strip() for one in classes.split(",")] if classes is not None else None
    with working(f"reading {directory}") as work:
        from ikd.data import import_voc, parse_parts

        chosen = parse_parts(parts or [])
        made = import_voc(directory, to, parts=chosen, classes=named, zero_based=zero_based, progress=work.count)
    echo(str(made))


@data_app.command("split")
def data_split(
    directory: Annotated[Path, typer.Argument(callback=expanded, help="Folder of the data set.")],
    to: Annotated[Path, typer.Option(callback=folder_to_make, help="Folder for the new json files.")],
    annotations: Annotated[
        str | None, typer.Option("--all", help="Divide this json; without it, val.json, and train.json stays.")
    ] = None,
    images: Annotated[str, typer.Option(help="Image folder.")] = "images",
    shares: Annotated[
        str | None, typer.Option(help="Shares of train,val,test (0.7,0.15,0.15), or of val,test (0.5,0.5).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same parts.")] = 0,
    group: Annotated[
        str | None, typer.Option(help="Regular expression: what it finds in a file's name is the name of its film.")
    ] = None,
) -> None:
    """Make a test part that nothing was seen of.

    Copies, pictures that look alike and frames of a film stay together.

    Example: ikd data split my/coco --to my/coco/parts

    Example: ikd data split my/coco --all all.json --shares 0.8,0.1,0.1 --to my/coco/parts
    """
    from ikd.progress import working

    with working(f"dividing {directory}"):
        from ikd.data import parse_shares, split_dataset

        parsed = parse_shares(shares) if shares is not None else None
        made = split_dataset(
            directory, to, annotations=annotations, images=images, shares=parsed, seed=seed, group=group
        )
    echo(str(made))
