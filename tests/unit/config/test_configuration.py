"""Recipes, search spaces and runners: what is read, and what is refused with file, line, field, value and rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikd.config import (
    Domain,
    SearchSpace,
    field_names,
    home,
    json_schema,
    load_recipe,
    load_runner,
    load_sweep,
    parse_sets,
    recipe_names,
)
from ikd.errors import BadInput, ConfigError

ROOT = Path(__file__).resolve().parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def write(folder: Path, text: str, name: str = "file.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, **arguments)
    assert caught.value.exit_status == 2
    return str(caught.value)


class TestRecipe:
    @pytest.mark.parametrize("name", recipe_names())
    def test_every_shipped_recipe_loads(self, name: str) -> None:
        assert load_recipe(name).name == name

    def test_the_paper_recipe_holds_the_papers_values(self) -> None:
        recipe = load_recipe("retinanet_r50_from_x101")
        assert (recipe.adversarial.weight, recipe.augment.area_threshold) == (1e-5, 32**2)
        fgd = recipe.distill.fgd
        assert (fgd.temperature, fgd.alpha, fgd.beta, fgd.gamma, fgd.lambda_) == (0.5, 1e-3, 5e-4, 5e-4, 5e-6)
        assert (recipe.distill.mgd.alpha, recipe.distill.mgd.mask_ratio) == (2e-5, 0.65)
        assert (recipe.attack.eps, recipe.attack.step, recipe.attack.steps, recipe.attack.momentum) == (8, 2, 5, 1)
        schedule = recipe.schedule
        assert (schedule.epochs, schedule.batch_size, schedule.optimizer.lr, schedule.clip) == (24, 16, 0.01, 35)
        assert [round(share * 24) for share in schedule.policy.milestones] == [16, 22]
        assert round(recipe.augment.stop_fraction * 24) == 16
        assert recipe.student.inherit

    def test_base_is_merged_deeply(self, tmp_path: Path) -> None:
        path = write(tmp_path, "base: drawn_r18\ndistill: {mgd: {alpha: 1e-5}}\n")
        recipe, base = load_recipe(path), load_recipe("drawn_r18")
        assert recipe.distill.mgd.alpha == 1e-5
        assert recipe.distill.host == base.distill.host
        again = write(tmp_path, "base: file.yaml\nseed: 4\n", "child.yaml")
        assert load_recipe(again).distill.mgd.alpha == 1e-5

    def test_another_detector_takes_no_arguments_from_below(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("model = dict(type='ATSS')")
        named = "student: {config: mine.py}\nteachers: {available: {rtmdet_x32: {config: mine.py}}}\n"
        recipe = load_recipe(write(tmp_path, "base: small_rtmdet\n" + named))
        assert recipe.student.arguments == recipe.teachers.available["rtmdet_x32"].arguments == {}
        assert recipe.teachers.available["r18x32"].arguments  # still the shipped one
        assert load_recipe(write(tmp_path, "base: small_rtmdet\nstudent: {config: ikd::yolox}\n")).student.arguments
        inline = load_recipe("small_rtmdet", {"student.config": {"type": "ATSS"}})
        assert inline.student.arguments == {}
        assert load_recipe(write(tmp_path, "base: small_rtmdet\nstudent: {arguments: null}\n")).student.arguments == {}
        base = load_recipe("gfl_r18_ld")
        assert base.student.overrides
        assert base.with_values({"student.overrides": None}).student.overrides == {}

    def test_arguments_of_ones_own_are_refused_with_another_detector(self, tmp_path: Path) -> None:
        path = write(tmp_path, "base: small_rtmdet\nstudent: {config: mine.py, arguments: {base_channels: 4}}\n")
        with pytest.raises(ConfigError, match=r"student\.arguments: goes only with a shipped detector"):
            load_recipe(path)
        with pytest.raises(ConfigError, match=r"student\.arguments: goes only with a shipped detector"):
            load_recipe("small_rtmdet", {"student.config": "mmdet::a/b.py", "student.arguments.base_channels": 4})

    def test_base_that_leads_back_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path, "base: b.yaml\n", "a.yaml")
        path = write(tmp_path, "base: a.yaml\n", "b.yaml")
        with pytest.raises(ConfigError, match="must not lead back to this recipe"):
            load_recipe(path)

    def test_with_values_leaves_the_original(self) -> None:
        base = load_recipe("drawn_r18")
        changed = base.with_values({"augment.noise.sigma": 0.2, "student.arguments.base_channels": 16})
        assert (base.augment.noise.sigma, changed.augment.noise.sigma) == (0.08, 0.2)
        assert changed.student.arguments == {"base_channels": 16, "neck_channels": 64}

    def test_override_keys_keep_their_dots(self) -> None:
        recipe = load_recipe("drawn_r18", {"student.overrides.bbox_head.stacked_convs": 2})
        assert recipe.student.overrides == {"bbox_head.stacked_convs": 2}

    def test_student_alone(self) -> None:
        alone = load_recipe("drawn_r18").student_alone()
        assert (alone.distill.host, alone.adversarial.enabled, alone.augment.enabled) == ("none", False, False)
        assert not alone.student.inherit
        assert alone.teacher is None

    @pytest.mark.parametrize(
        ("off", "change"),
        [
            ({"distill.host": "mgd"}, {"distill.fgd.alpha": 0.5}),
            ({"distill.host": "fgd"}, {"distill.mgd.mask_ratio": 0.1}),
            ({"adversarial.enabled": False}, {"adversarial.weight": 0.5}),
            ({"adversarial.enabled": False}, {"attack.eps": 16.0}),
            ({"augment.enabled": False}, {"augment.noise.sigma": 0.5}),
            ({"augment.noise.enabled": False}, {"augment.noise.sigma": 0.5}),
            ({"augment.enabled": False, "adversarial.enabled": False}, {"augment.stop_fraction": 0.1}),
        ],
    )
    def test_what_is_switched_off_makes_no_other_configuration(
        self, off: dict[str, Any], change: dict[str, Any]
    ) -> None:
        base = load_recipe("drawn_r18", off)
        assert base.with_values(change).fingerprint() == base.fingerprint()
        name = next(iter(change))
        parents = {"adversarial.weight": {"adversarial.enabled": True}}
        switched_on = load_recipe("drawn_r18", parents.get(name, {}))
        assert switched_on.fingerprint() == load_recipe("drawn_r18").fingerprint()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("base: drawn_r18\ndistil: {}\n", r"file\.yaml:2: distil: is not a field here; did you mean 'distill'\?"),
            (
                "base: drawn_r18\nteachers: {sequence: [{teacher: x, shar: 0.3}]}\n",
                r":2: teachers\.sequence\[0\]\.shar: is not a field here; did you mean 'share'\?",
            ),
            ("base: drawn_r18\nseed: -1\n", r":2: seed: should be greater than or equal to 0, but got -1"),
            ("base: drawn_r18\nschedule:\n  epochs: 1.5\n", r":3: schedule\.epochs: .*valid integer.*, but got 1\.5"),
            (
                "base: drawn_r18\nschedule: {amp: yes}\n",
                r"schedule\.amp: should be a valid boolean, or should be 'float16' or 'bfloat16', but got 'yes'",
            ),
            ("base: drawn_r18\naugment: {noise: {sigma: .nan}}\n", r"augment\.noise\.sigma: .*finite"),
            ("base: drawn_r18\nseed: 1\nseed: 2\n", r":3: seed: is written twice"),
            ("base: drawn_r19\n", r"must be a shipped recipe .* did you mean 'drawn_r18'\?"),
            ("base: drawn_r18\nteachers: {sequence: [x]}\n", r":2: teachers\.sequence\[0\]: must be a name under"),
            ("base: drawn_r18\nattack: {eps: 1, step: 2}\n", r":2: attack\.step: must be at most attack\.eps \(1\.0\)"),
            ("base: drawn_r18\nteachers: {sequence: []}\n", r"distill\.host: needs a teacher .*, but got 'fgd'"),
            ("student: {config: x}\n", r"data: is required"),
            ("a: [1\n", r"file\.yaml:2: \(file\): must be YAML"),
            ("- 1\n", r"file\.yaml:1: \(file\): must be a mapping"),
            ("", r"data: is required"),
        ],
    )
    def test_faults_name_file_line_field_value_and_rule(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_recipe(write(tmp_path, text))

    def test_all_faults_come_at_once(self, tmp_path: Path) -> None:
        path = write(tmp_path, "base: drawn_r18\nseed: -1\nschedule: {epochs: 0, batch_sise: 1}\n")
        with pytest.raises(ConfigError) as caught:
            load_recipe(path)
        found = {problem.field for problem in caught.value.problems}
        assert found == {"schedule.epochs", "schedule.batch_sise", "seed"}

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"absent\.yaml: \(file\): must be a readable UTF-8 text file"):
            load_recipe(tmp_path / "absent.yaml")
        write(tmp_path, "base: drawn_r18\n").rename(tmp_path / "present.yaml")
        with pytest.raises(ConfigError, match=r"there is none; did you mean present\.yaml\?$"):
            load_recipe(tmp_path / "presents.yaml")
        with pytest.raises(ConfigError, match=r"there is no folder .*nowhere$"):
            load_recipe(tmp_path / "nowhere" / "recipe.yaml")

    @pytest.mark.parametrize("kind", ["recipe", "space", "runner"])
    def test_every_field_is_documented(self, kind: Any) -> None:
        schema = json_schema(kind)
        sections = {"(top)": schema, **schema.get("$defs", {})}
        fields = {
            (name, field): content
            for name, one in sections.items()
            for field, content in one.get("properties", {}).items()
        }
        assert len(fields) > 10
        conditions = ("Condition", "#/$defs/Condition")  # mappings by free keys, described where they are used
        named = {place: one for place, one in fields.items() if not {place[0], one.get("$ref")} & {*conditions}}
        assert [place for place, one in named.items() if not one.get("description")] == []


SPACE = "recipe: drawn_r18\nparameters:\n"


class TestSearchSpace:
    @pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
    def test_every_shipped_space_fits_its_recipe(self, path: Path) -> None:
        files = load_sweep(path)
        assert files.space.parameters
        factorial = files.space.sampler.grid is not None  # which is meant to be exhausted
        assert factorial or files.space.num_configurations() > files.space.budget.trials

    def test_there_are_shipped_spaces(self) -> None:
        assert {"quickstart", "ikd"} <= {path.stem for path in SPACES}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (
                "  augment.noise.sigm: {uniform: [0, 1]}",
                r":3: parameters\.augment\.noise\.sigm: is no recipe field; did you mean 'augment\.noise\.sigma'",
            ),
            ("  augment.noise.sigma: {uniform: [1, 0]}", r":3: .*low below high, and is \[1\.0, 0\.0\]"),
            ("  augment.noise.sigma: {log_uniform: [0, 1]}", r"low end above 0, and has 0\.0"),
            ("  augment.noise.sigma: {log_uniform: [0.1, 1], step: 0.1}", r"step goes with uniform or int"),
            (
                "  augment.noise.sigma: {uniform: [-1, 1]}",
                r"parameters\.augment\.noise\.sigma: should be greater than or equal to 0, but got -1\.0",
            ),
            ("  augment.noise.sigma: {}", r"needs exactly one of choice, uniform, log_uniform, int"),
            ("  augment.noise.sigma: {choice: [0.1], uniform: [0, 1]}", r"needs exactly one of"),
            ("  distill.host: {choice: []}", r"choice must list at least one value"),
            ("  distill.host: {choice: [fgd, fgd]}", r"choice must not repeat a value"),
            ("  distill.host: {choice: [fgd, fgdd]}", r"parameters\.distill\.host: should be .*, but got 'fgdd'"),
            (
                "  distill.mgd.alpha: {log_uniform: [1e-6, 1e-4], when: {distill.host: mgd}}",
                r":3: .*when\.distill\.host: must name another parameter of this space",
            ),
            (
                "  distill.host: {choice: [fgd]}\n  distill.mgd.alpha: {log_uniform: [1e-6, 1e-4], when: {distill.host: mgd}}",
                r":4: .*must be among the choices of distill\.host: \['fgd'\], but got 'mgd'",
            ),
            (
                "  augment.enabled: {choice: [true], when: {adversarial.enabled: true}}\n  adversarial.enabled: {choice: [true], when: {augment.enabled: true}}",
                r"must not lead back to this parameter",
            ),
            (
                "  augment.noise.sigma: {uniform: [0, 1]}\n  augment.noise.probability: {uniform: [0, 1], when: {augment.noise.sigma: 0.5}}",
                r"must be a choice parameter to condition on",
            ),
            ("  schedule.epochs: {int: [1, 2]}", r"cannot be searched: trials are compared at equal epochs"),
            ("  schedule.workers: {int: [1, 2]}", r"cannot be searched: it does not change training"),
            ("  {}\nanchors: [papers]", r":4: anchors\[0\]: should be 'paper', .*but got 'papers'"),
            ("  {}\nanchors: [paper, paper]", r"anchors: must not repeat an anchor"),
            ("  {}\nbudget: {trials: 1}", r"budget\.trials: must cover at least the 2 anchors, but got 1"),
            ("  {}\nsampler: {tpe: {}, random: {}}", r"sampler: needs exactly one of effects, tpe, random"),
            ("  {}\nsampler: {tpe: {multivariate: false}}", r"group needs multivariate: true"),
            (
                "  {}\nscheduler: {asha: {reduction_factor: 1}}",
                r"scheduler\.asha\.reduction_factor: should be greater than 1, but got 1",
            ),
            ("  {}\nobjective: {metric: mAP}", r"objective\.metric: should be 'bbox_mAP'"),
            ("  {}\nset: {seeds: 1}", r":4: set\.seeds: is no recipe field; did you mean 'seed'"),
        ],
    )
    def test_faults(self, tmp_path: Path, line: str, message: str) -> None:
        import re

        text = refusal(write(tmp_path, SPACE + line + "\n"))
        assert re.search(message, text), text

    def test_an_unknown_recipe_is_placed_in_the_space(self, tmp_path: Path) -> None:
        text = refusal(write(tmp_path, "description: x\nrecipe: drawn\n"))
        assert "file.yaml:2: recipe: must be a shipped recipe" in text

    def test_set_acts(self, tmp_path: Path) -> None:
        path = write(tmp_path, SPACE + "  {}\nset: {seed: 3, schedule.epochs: 2}\n")
        assert load_sweep(path).recipe.seed == 3
        assert load_sweep(path, values={"seed": 5}).recipe.seed == 5
        assert load_sweep(path).recipe.schedule.epochs == 2

    def test_conditions_order_and_count(self, tmp_path: Path) -> None:
        text = (
            "  distill.mgd.mask_ratio: {uniform: [0, 0.5], step: 0.1, when: {distill.host: mgd}}\n"
            "  distill.host: {choice: [fgd, mgd, pkd]}\n"
            "  student.arguments.base_channels: {int: [8, 16], step: 4}\n"
        )
        space = load_sweep(write(tmp_path, SPACE + text)).space
        assert space.ordered() == ("distill.host", "distill.mgd.mask_ratio", "student.arguments.base_channels")
        assert space.num_configurations() == (1 + 6 + 1) * 3
        assert space.active({"distill.host": "fgd", "distill.mgd.mask_ratio": 0.1}) == {"distill.host": "fgd"}
        assert space.is_active("distill.mgd.mask_ratio", {"distill.host": "mgd"})

    def test_a_condition_may_name_several_values(self, tmp_path: Path) -> None:
        text = "  distill.host: {choice: [fgd, mgd, none]}\n  seed: {int: [0, 9], when: {distill.host: [fgd, mgd]}}\n"
        space = load_sweep(write(tmp_path, SPACE + text)).space
        assert [space.is_active("seed", {"distill.host": host}) for host in ("fgd", "mgd", "none")] == [
            True,
            True,
            False,
        ]

    @pytest.mark.parametrize(
        ("domain", "size"),
        [
            ({"choice": [1, 2]}, 2),
            ({"int": [2, 5]}, 4),
            ({"int": [2, 6], "step": 2}, 3),
            ({"uniform": [0, 1], "step": 0.25}, 5),
            ({"uniform": [0, 1]}, math.inf),
            ({"log_uniform": [0.1, 1]}, math.inf),
        ],
    )
    def test_domain_sizes(self, domain: dict[str, Any], size: float) -> None:
        import json

        assert Domain.model_validate_json(json.dumps(domain)).size == size

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        field=st.sampled_from(sorted(SearchSpace.model_fields)),
    )
    def test_any_malformed_space_is_one_refusal(self, tmp_path: Path, value: Any, field: str) -> None:
        import yaml

        path = write(tmp_path, yaml.safe_dump({"recipe": "drawn_r18", field: value}, allow_unicode=True))
        caught = None
        try:
            load_sweep(path)
        except ConfigError as error:
            caught = error
        assert caught is None or all(problem.file and problem.rule for problem in caught.problems)


class TestRunner:
    @pytest.mark.parametrize("path", sorted((ROOT / "runners").glob("*.yaml")), ids=lambda path: path.stem)
    def test_every_shipped_runner_loads(self, path: Path) -> None:
        assert load_runner(path).concurrency >= 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("trial: {cpus: 0}", r":1: trial\.cpus: should be greater than 0"),
            ("ray: {address: 'http://x'}", r"ray\.address: must be local, auto or host:port"),
            ("study: mysql", r"study: .*pattern"),
            ("concurency: 2", r"did you mean 'concurrency'"),
        ],
    )
    def test_faults(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_runner(write(tmp_path, text + "\n"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1e-5", 1e-5), ("a=[x, y]", ["x", "y"]), ("a=true", True), ("a=yes", "yes"), ("a=b=c", "b=c"), ("a=3", 3)],
)
def test_set_values_are_yaml(text: str, value: object) -> None:
    assert parse_sets([text]) == {"a": value}


@pytest.mark.parametrize("text", ["a", "=1", "a=[1"])
def test_bad_set_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--set"):
        parse_sets([text])


def test_field_names_are_dotted() -> None:
    assert {"augment.noise.sigma", "distill.fgd.lambda_", "teachers.sequence", "seed"} <= set(field_names())


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("IKD_HOME")
    assert home() == Path.home() / "ikd"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a.b=1", "a.b = 2"], "--set: a.b: must be given once, but got 1 and 2"),
        (["data.root=one\ntwo"], r"--set: data.root: must be one line, .* but got 'one\\ntwo'"),
    ],
)
def test_what_one_of_two_values_or_a_blank_would_replace_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_sets(texts)
    assert parse_sets(["a=1", "a=1", "b=c\n"]) == {"a": 1, "b": "c"}
