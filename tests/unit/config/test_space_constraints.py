"""Search spaces against their recipe and search: constraints, fixed values, samplers and schedulers, includes."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Domain, load_recipe, load_sweep
from ikd.config.space.constraints import Uncomputable, constraint
from ikd.errors import ConfigError
from tests.unit.config.written_spaces import load, refusal, write

HOST = "  distill.host: {choice: [fgd, mgd, none]}\n  augment.enabled: {choice: [true, false]}\n"
RECIPE = {"attack.step": 2.0, "attack.eps": 8.0, "on": True, "off": False, "host": "fgd", "list": [0, 1], "no": None}


class TestConstraints:
    @pytest.mark.parametrize(
        ("text", "holds"),
        [
            ("attack.step <= attack.eps", True),
            ("attack.step * 4 == attack.eps", True),
            ("attack.step > attack.eps / 2 or off", False),
            ("1 < attack.step < 3", True),
            ("1 < attack.step < 2", False),
            ("not off and on", True),
            ("on + off <= 1", True),
            ("host in ['fgd', \"mgd\"]", True),
            ("host not in ('fgd', 'mgd')", False),
            ("len(list) == 2 and 1 in list", True),
            ("list == [0, 1]", True),
            ("max(attack.step, 3) - min(attack.eps, 2, 5) == 1", True),
            ("-attack.step < +1", True),
            ("attack.eps // 3 == 2 and attack.eps % 3 == 2", True),
            ("no == null or no > 3", True),
            ("on == true and off == false", True),
            ("(attack.step\n < attack.eps)", True),
        ],
    )
    def test_a_constraint_is_its_formula(self, text: str, holds: bool) -> None:
        assert constraint(text).holds(RECIPE.__getitem__) is holds

    def test_the_fields_are_known(self) -> None:
        assert constraint("max(a.b, c) < 3 or not d.e_.f and true").fields == ("a.b", "c", "d.e_.f")

    @pytest.mark.parametrize(
        "text",
        [
            "attack.step / 0 < 1",
            "no < 3",
            "host < 3",
            "host and on",
            "attack.step or on",
            "not list",
            "len(no) > 1",
            "host * 3 == 'x'",
            "list + list == 3",
            "max(no, 1) > 2",
            "attack.step in 3",
            "min(list, 3) < 1",
        ],
    )
    def test_what_has_no_value(self, text: str) -> None:
        with pytest.raises(Uncomputable):
            constraint(text).holds(RECIPE.__getitem__)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "must be an expression such as attack.step <= attack.eps"),
            ("attack.step <=", "must be an expression"),
            ("a = b", "must be an expression"),
            ("import os", "must be an expression"),
            ("attack.step", None),
            ("attack.step + 1", "must compare something"),
            ("3", "must compare something"),
            ("a and b + 1", "and, or, not go between comparisons, but stand beside 'b \\+ 1'"),
            ("a ** 2 < 1", "may hold only .*, but holds 'a \\*\\* 2'"),
            ("__import__('os').system('x') == 1", "but holds"),
            ("open('x') == 1", "but holds \"open\\('x'\\)\""),
            ("a.b() < 1", "but holds 'a.b\\(\\)'"),
            ("a[0] < 1", "but holds 'a\\[0\\]'"),
            ("[x for x in a] == 1", "but holds"),
            ("(lambda: 1) == 1", "but holds"),
            ("len(a, b) < 1", "but holds"),
            ("max() < 1", "but holds"),
            ("max(a, key=b) < 1", "but holds"),
            ("f'{a}' == 'b'", "but holds"),
            ("b'x' == a", "but holds"),
            ("1j == a", "but holds"),
            ("a is None", "but holds"),
            ("a if b else c", "but holds|must compare"),
            ("(a := 3) < 4", "but holds"),
            ("a < {1}", "but holds"),
            ("-" * 100 + "a < 1", "must be nested at most 20 deep"),
            ("(" * 300 + "a" + ")" * 300, "must be at most 500 characters"),
            ("(" * 220 + "a" + ")" * 220, "must be an expression"),
            ("'\\d' == a", None),
            ("a\x00 < 1", "must be an expression"),
        ],
    )
    def test_what_is_no_constraint(self, text: str, message: str | None) -> None:
        if message is None:
            assert constraint(text).fields
            return
        with pytest.raises(ValueError, match=message):
            constraint(text)

    def test_a_space_allows_what_fulfils_all_of_them(self, tmp_path: Path) -> None:
        text = "  attack.step: {choice: [1, 2, 8]}\n  attack.eps: {choice: [2, 8]}\n"
        rest = "constraints:\n  - attack.step < attack.eps\n  - attack.step + attack.eps != 9"
        files = load_sweep(write(tmp_path, text, rest))
        allowed = {
            (step, eps)
            for step, eps in itertools.product([1, 2, 8], [2, 8])
            if step <= eps
            and files.space.allows(files.recipe.with_values({"attack.step": float(step), "attack.eps": float(eps)}))
        }
        assert allowed == {(1, 2), (2, 8)}
        assert files.space.num_configurations() == 6
        assert files.space.num_configurations(files.recipe) == 2

    def test_constraints_read_fed_and_unsearched_fields(self, tmp_path: Path) -> None:
        text = "  distill.fgd.alpha: {choice: [1e-3, 1e-5], also: [distill.fgd.beta]}\n"
        files = load_sweep(write(tmp_path, text, "constraints: [10 * distill.fgd.beta > distill.fgd.gamma]"))
        assert files.space.allows(files.recipe.with_values({"distill.fgd.beta": 1e-3}))
        assert not files.space.allows(files.recipe.with_values({"distill.fgd.beta": 1e-5}))
        assert files.space.num_configurations(files.recipe) == 1

    def test_what_cannot_be_computed_is_not_allowed(self, tmp_path: Path) -> None:
        text = "  schedule.clip: {choice: [null, 10]}\n"
        files = load_sweep(write(tmp_path, text, "constraints: [schedule.clip < 20]"))
        assert not files.space.allows(files.recipe.with_values({"schedule.clip": None}))
        assert files.space.allows(files.recipe.with_values({"schedule.clip": 10.0}))

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            ("attack.step <= ", r":7: constraints\[0\]: must be an expression such as .*, but got 'attack.step <='"),
            (
                "attack.stepp <= 3",
                r":7: constraints\[0\]: attack\.stepp is no recipe field; did you mean 'attack\.step'",
            ),
            ("attack.step.x <= 3", r"attack\.step has no fields below it"),
            ("len <= 3", r"len is no recipe field"),
            (
                "attack.eps > 100",
                r"must leave something to try: no configuration fulfils it, but got 'attack.eps > 100'",
            ),
            ("attack.eps > 1", r"must refuse something: every configuration fulfils it"),
            ("seed == 0", r"must read a searched field, and reads seed"),
            ("1 < 2", r"must read a searched field, and reads none"),
            ("attack.eps < distill.host", r"no configuration fulfils it \('<' not supported"),
            ("augment.noise.sigma > 7", r"none of 5000 random configurations fulfils it"),
            ("distill > 7", r"must read a searched field"),
        ],
    )
    def test_faults(self, tmp_path: Path, rule: str, message: str) -> None:
        text = "  attack.eps: {choice: [2, 4, 8]}\n  augment.noise.sigma: {log_uniform: [0.1, 0.2]}\n"
        found = refusal(tmp_path, text, f"constraints:\n  - {rule}")
        assert re.search(message, found), found

    def test_constraints_must_go_together(self, tmp_path: Path) -> None:
        text = "  attack.eps: {choice: [2, 4, 8]}\n"
        found = refusal(tmp_path, text, "constraints: [attack.eps > 3, attack.eps < 4]")
        assert "constraints: must leave something to try: no configuration fulfils all of them together" in found
        assert "must not be written twice" in refusal(tmp_path, text, "constraints: [attack.eps > 3, attack.eps > 3]")

    def test_constraints_over_ranges_pass_when_some_draws_do(self, tmp_path: Path) -> None:
        text = "  distill.fgd.alpha: {log_uniform: [1e-4, 1e-2]}\n  distill.fgd.beta: {log_uniform: [1e-4, 1e-2]}\n"
        rest = "constraints: [distill.fgd.alpha > 50 * distill.fgd.beta]"
        assert load(tmp_path, text, rest).num_configurations() == math.inf


class TestFixed:
    def test_a_searched_parameter_is_fixed(self, tmp_path: Path) -> None:
        path = write(
            tmp_path, "  augment.noise.sigma: {log_uniform: [0.1, 0.2], prior: {around: 0.1}}\n  seed: {int: [0, 3]}"
        )
        files = load_sweep(path, values={"augment.noise.sigma": 0.5, "schedule.epochs": 3})
        assert files.space.parameters["augment.noise.sigma"] == Domain(choice=(0.5,))
        assert files.space.num_configurations() == 4
        assert files.recipe.schedule.epochs == 3
        assert files.recipe.augment.noise.sigma == load_recipe("drawn_r18").augment.noise.sigma

    def test_a_fixed_parent_settles_its_children(self, tmp_path: Path) -> None:
        text = HOST + "  distill.fgd.alpha: {choice: [1e-3, 1e-4], when: {distill.host: fgd}}\n"
        text += "  distill.mgd.alpha: {choice: [1e-5, 1e-6], when: {distill.host: mgd}}\n"
        text += "  seed: {choice: [0, 1], when: {any: [{distill.host: mgd}, {augment.enabled: true}]}}"
        space = load(tmp_path, text, distill__host="mgd")
        assert list(space.parameters) == ["distill.host", "augment.enabled", "distill.mgd.alpha", "seed"]
        assert space.parameters["distill.mgd.alpha"].when == space.parameters["seed"].when == {}
        assert space.num_configurations() == 2 * 2 * 2
        other = load(tmp_path, text, distill__host="fgd")
        assert other.parameters["seed"].when == {"any": [{"distill.host": "mgd"}, {"augment.enabled": True}]}

    def test_a_value_may_be_meant_by_its_name(self, tmp_path: Path) -> None:
        text = "  distill.sfa.levels: {choice: {fine: [0], all: [0, 1, 2]}}\n"
        domain = load(tmp_path, text, distill__sfa__levels="fine").parameters["distill.sfa.levels"]
        assert (domain.choice, domain.aliases) == (([0],), ("fine",))

    def test_fixing_makes_a_space_fit_its_sampler(self, tmp_path: Path) -> None:
        text = HOST + "  distill.fgd.alpha: {log_uniform: [1e-4, 1e-3], when: {distill.host: fgd}}\n"
        rest = "sampler: {cmaes: {}}"
        assert "must be a range of numbers for sampler cmaes" in refusal(tmp_path, text, rest)
        assert load(tmp_path, text, rest, distill__host="fgd", augment__enabled=True).sampler.cmaes is not None

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"augment.enabled": 3}, r"--set: augment\.enabled: should be a valid boolean, but got 3"),
            ({"distill.host": "fdg"}, r"--set: distill\.host: should be 'none', .*, but got 'fdg'"),
            ({"distill.hosts": "fgd"}, r"--set: distill\.hosts: is no recipe field; did you mean 'distill\.host'"),
            (
                {"adversarial.enabled": True},
                r"--set: adversarial\.enabled: is searched by the space together with augment\.enabled; set augment\.enabled",
            ),
        ],
    )
    def test_faults(self, tmp_path: Path, values: dict[str, Any], message: str) -> None:
        text = "  distill.host: {choice: [fgd, mgd]}\n"
        text += "  augment.enabled: {choice: [true, false], also: [adversarial.enabled]}"
        found = refusal(tmp_path, text, values=values)
        assert re.search(message, found), found

    def test_constraints_may_become_certain_when_fixed(self, tmp_path: Path) -> None:
        text = "  attack.eps: {choice: [2, 8]}\n  attack.steps: {choice: [1, 3]}\n"
        rest = "constraints: [attack.steps < attack.eps]"
        assert load(tmp_path, text, rest, attack__eps=8).num_configurations() == 2
        assert "no configuration fulfils it" in refusal(
            tmp_path, text, rest, values={"attack.eps": 1, "attack.step": 1}
        )


class TestSearch:
    @pytest.mark.parametrize(
        ("parameters", "rest", "message"),
        [
            (
                HOST,
                "sampler: {cmaes: {}}",
                r":3: parameters\.distill\.host: must be a range of numbers for sampler cmaes",
            ),
            (
                HOST + "  seed: {int: [0, 9], when: {distill.host: fgd}}",
                "sampler: {cmaes: {}}",
                r":5: parameters\.seed\.when: must not depend on other parameters with sampler cmaes",
            ),
            (
                "  seed: {int: [0, 9]}",
                "sampler: {cmaes: {}}\ncosts: [gflops]",
                r":4: sampler\.cmaes: goes with a single objective; take out costs",
            ),
            ("  {}", "costs: [gflops, mparameters, gflops]", r":4: costs: must not repeat a cost, but got"),
            ("  {}", "costs: [flops]", r"costs\[0\]: should be 'gflops'"),
            ("  {}", "scheduler: {asha: {by: nondominated}}", r":4: scheduler\.asha\.by: needs costs"),
            (
                "  seed: {int: [0, 9]}",
                "scheduler: {pbt: {}}",
                r":3: parameters\.seed: must feed loss weights only with scheduler pbt \(.*\), and feeds seed",
            ),
            (
                "  adversarial.weight: {uniform: [2, 8], also: [attack.eps]}",
                "scheduler: {pbt: {}}",
                r"and feeds attack\.eps",
            ),
            (
                "  adversarial.weight: {choice: [1e-6, 1e-4]}",
                "scheduler: {pbt: {}}",
                r"must be a range of numbers for scheduler pbt, and is a choice",
            ),
            ("  {}", "scheduler: {pbt: {}}", r"scheduler\.pbt: needs a searched loss weight"),
            (
                "  adversarial.weight: {log_uniform: [1e-6, 1e-4]}",
                "scheduler: {pbt: {interval_epochs: 6}}",
                r"pbt\.interval_epochs: must be below the 6 epochs of a training, but got 6",
            ),
            ("  {}", "scheduler: {median: {grace_epochs: 9}}", r"median\.grace_epochs: must be below the 6 epochs"),
            (
                "  {}",
                "scheduler: {hyperband: {grace_epochs: 9}}",
                r"hyperband\.grace_epochs: must be below the 6 epochs",
            ),
            ("  {}", "budget: {target: 40}", r"budget\.target: should be less than or equal to 1, but got 40"),
            ("  {}", "budget: {target: -0.1}", r"budget\.target: should be greater than or equal to 0"),
            (
                "  seed: {int: [0, 9]}",
                "sampler: {nsga2: {population: 50}}",
                r"nsga2\.population: must be at most budget\.trials \(20\).*, but got 50",
            ),
            (
                "  seed: {log_int: [1, 9]}\n  attack.eps: {log_uniform: [3, 9]}",
                "sampler: {grid: {}}",
                r":4: parameters\.attack\.eps: must be finite for sampler grid: a choice, a step or a factor",
            ),
        ],
    )
    def test_faults(self, tmp_path: Path, parameters: str, rest: str, message: str) -> None:
        text = refusal(tmp_path, parameters, rest)
        assert re.search(message, text), text

    @pytest.mark.parametrize(
        ("parameters", "rest"),
        [
            ("  seed: {int: [0, 9]}\n  augment.noise.sigma: {uniform: [0.1, 0.2], step: 0.05}", "sampler: {cmaes: {}}"),
            (
                "  adversarial.weight: {log_uniform: [1e-6, 1e-4]}\n  distill.fgd.gamma: {uniform: [0, 1]}",
                "scheduler: {pbt: {interval_epochs: 5}}",
            ),
            (
                HOST,
                "sampler: {nsga2: {population: 20}}\ncosts: [gflops, latency_ms]\nscheduler: {asha: {by: nondominated}}",
            ),
            ("  attack.eps: {log_uniform: [3, 9], factor: 1.5}", "sampler: {grid: {}}"),
        ],
    )
    def test_what_goes_together(self, tmp_path: Path, parameters: str, rest: str) -> None:
        assert load(tmp_path, parameters, rest).parameters

    def test_loss_weights_leave_the_loss_modules_alone(self) -> None:
        from ikd.config.recipe.fields import field_names
        from ikd.config.space.search_checks import LOSS_WEIGHTS

        assert set(field_names()) >= LOSS_WEIGHTS
        assert not {name for name in LOSS_WEIGHTS if re.search(r"ratio|tau|temperature|position|mode", name)}


class TestIncludes:
    def test_mappings_merge_and_the_rest_replaces(self, tmp_path: Path) -> None:
        write(
            tmp_path, HOST + "  seed: {int: [0, 9]}", "anchors: [paper]\nbudget: {trials: 7, target: 0.5}", "one.yaml"
        )
        (tmp_path / "two.yaml").write_text("budget: {trials: 8}\nsampler: {random: {}}\n")
        top = tmp_path / "top.yaml"
        top.write_text(
            "include: [one.yaml, two.yaml]\nanchors: [student_alone]\nsampler: {qmc: {}}\n"
            "parameters: {augment.enabled: null, seed: {choice: [1, 2]}, distill.host: {choice: [pkd]}, attack.eps: {uniform: [3, 8]}}\n"
        )
        space = load_sweep(top).space
        assert list(space.parameters) == ["distill.host", "seed", "attack.eps"]
        assert space.parameters["seed"] == Domain(choice=(1, 2))
        assert space.parameters["distill.host"].choice == ("pkd",)
        assert (space.budget.trials, space.budget.target) == (8, 0.5)
        assert space.anchors == ("student_alone",)
        assert space.sampler.qmc is not None
        assert space.sampler.random is None

    def test_files_may_be_included_by_included_files(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "base.yaml").write_text("recipe: drawn_r18\n")
        (tmp_path / "deep" / "one.yaml").write_text("include: [base.yaml]\nseed: 3\n")
        (tmp_path / "top.yaml").write_text("include: [deep/one.yaml]\n")
        assert load_sweep(tmp_path / "top.yaml").space.seed == 3

    def test_a_fault_is_found_where_it_was_written(self, tmp_path: Path) -> None:
        write(tmp_path, "  seed: {int: [0, 9]}\n  attack.eps: {uniform: [9, 3]}", "budget:\n  trials: 0", "one.yaml")
        (tmp_path / "top.yaml").write_text(
            "include:\n  - one.yaml\nparameters:\n  sed: {int: [0, 1]}\nbudget: {target: 2}\n"
        )
        with pytest.raises(ConfigError) as caught:
            load_sweep(tmp_path / "top.yaml")
        places = {problem.field: (Path(problem.file).name, problem.line) for problem in caught.value.problems}
        assert places == {
            "parameters.attack.eps": ("one.yaml", 4),
            "budget.trials": ("one.yaml", 6),
            "budget.target": ("top.yaml", 5),
            "parameters.sed": ("top.yaml", 4),
        }

    @pytest.mark.parametrize(
        ("include", "message"),
        [
            (
                "[absent.yaml]",
                r"top\.yaml:1: include\[0\]: must be a file that is there, by its path from this file; nothing is at .*absent\.yaml, but got 'absent\.yaml'",
            ),
            ("[top.yaml]", r"include\[0\]: must not lead back to this file"),
            ("[one.yaml]", r"one\.yaml:1: include\[0\]: must not lead back to this file"),
            ("[two.yaml, two.yaml]", r"include\[1\]: must not be included twice"),
            ("two.yaml", r"include: must be a list of search-space files, but got 'two\.yaml'"),
            ("[3]", r"include: must be a list of search-space files"),
            ("[two.yaml, broken.yaml]", r"broken\.yaml:1: \(file\): must be YAML"),
            ("[two.yaml, ..]", r"include\[1\]: must be a file that is there"),
            ('["a\\0b"]', r"include\[0\]: must be a file that is there"),
        ],
    )
    def test_faults(self, tmp_path: Path, include: str, message: str) -> None:
        (tmp_path / "one.yaml").write_text("include: [top.yaml]\n")
        (tmp_path / "two.yaml").write_text("recipe: drawn_r18\n")
        (tmp_path / "broken.yaml").write_text("a: [")
        (tmp_path / "top.yaml").write_text(f"include: {include}\nrecipe: drawn_r18\n")
        with pytest.raises(ConfigError) as caught:
            load_sweep(tmp_path / "top.yaml")
        assert re.search(message, str(caught.value)), str(caught.value)


def test_what_a_space_varies_is_no_longer_set_by_those_it_includes(tmp_path: Path) -> None:
    (tmp_path / "under.yaml").write_text(
        "recipe: drawn_r18\nset: {adversarial.enabled: false, distill.host: pkd}\n"
        "parameters: {distill.pkd.weight: {log_uniform: [0.3, 30]}}\n"
    )
    over = tmp_path / "over.yaml"
    over.write_text("include: [under.yaml]\nparameters: {adversarial.enabled: {choice: [true, false]}}\n")
    files = load_sweep(over)
    assert files.recipe.adversarial.enabled, "the recipe's own"
    assert files.recipe.distill.host == "pkd"
    assert set(files.space.parameters) == {"adversarial.enabled", "distill.pkd.weight"}


def test_a_value_that_goes_only_with_its_parents_is_tried_with_them(tmp_path: Path) -> None:
    """Nothing alters an image of the recipe, and the condition sees to it that something does."""
    text = """\
  input.joint.enabled: {choice: [false, true]}
  distill.confidence: {choice: {plain: [], cosine: [host]}, when: {input.joint.enabled: WHEN}}
  augment.enabled: {choice: [false]}
"""
    fixed = "set: {augment.noise.enabled: false}"
    (tmp_path / "right.yaml").write_text(f"recipe: drawn_r18\nparameters:\n{text.replace('WHEN', 'true')}{fixed}\n")
    assert "distill.confidence" in load_sweep(tmp_path / "right.yaml").space.parameters
    (tmp_path / "wrong.yaml").write_text(f"recipe: drawn_r18\nparameters:\n{text.replace('WHEN', 'false')}{fixed}\n")
    with pytest.raises(ConfigError, match=r"parameters\.distill\.confidence: needs images that are altered"):
        load_sweep(tmp_path / "wrong.yaml")
