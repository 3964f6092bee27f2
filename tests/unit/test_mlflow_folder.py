"""The settings in the root folder mlflow/ are valid, and the folder never hides the real package."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mlflow"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return settings


def _env_names() -> set[str]:
    lines = (FOLDER / "server.env").read_text(encoding="utf-8").splitlines()
    return {line.split("=", 1)[0] for line in lines if line and not line.startswith("#")}


def test_the_folder_holds_no_python() -> None:
    assert sorted(path.name for path in FOLDER.rglob("*.py")) == []


def test_import_from_the_root_gives_the_package() -> None:
    code = "import mlflow; print(mlflow.__file__, hasattr(mlflow, 'MlflowClient'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    file, has_client = done.stdout.split()[-2:]
    assert has_client == "True"
    assert FOLDER not in Path(file).parents


def test_compose_options_exist(compose: dict[str, Any]) -> None:
    from mlflow.cli import server

    known = {option for parameter in server.params for option in parameter.opts}
    command = compose["services"]["mlflow"]["command"]
    options = {part.split("=", 1)[0] for part in command if part.startswith("--")}
    assert command[:2] == ["mlflow", "server"]
    assert options >= {"--host", "--artifacts-destination", "--app-name"}
    assert options <= known


def test_compose_environment_is_known_to_mlflow(compose: dict[str, Any]) -> None:
    import mlflow.environment_variables
    from mlflow.cli import server

    known = {getattr(value, "name", None) for value in vars(mlflow.environment_variables).values()}
    known |= {parameter.envvar for parameter in server.params}
    assert set(compose["services"]["mlflow"]["environment"]) <= known


def test_every_value_that_compose_asks_for_is_in_the_example(compose: dict[str, Any]) -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == _env_names()


def test_services_are_watched_bounded_and_not_open_to_all(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
        assert service["logging"]["options"]["max-size"]
        assert service["restart"] == "unless-stopped"
        assert service["stop_grace_period"]
    assert compose["services"]["mlflow"]["ports"] == ["${MLFLOW_ADDRESS:-127.0.0.1}:5000:5000"]
    assert "ports" not in compose["services"]["database"]


def test_people_are_added_as_the_page_says() -> None:
    import mlflow

    client = (Path(mlflow.__file__).parent / "server" / "auth" / "client.py").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "howto" / "team.md").read_text(encoding="utf-8")
    calls = set(re.findall(r"people\.(\w+)\(", text))
    wanted = {"create_user", "update_user_password", "update_user_admin", "delete_user", "grant_user_permission"}
    assert calls == wanted
    assert all(f"def {name}(" in client for name in calls), "imported it would want packages of a server"


def test_everybody_of_a_team_may_add_runs_at_once() -> None:
    config = configparser.ConfigParser()
    config.read(FOLDER / "basic_auth.ini")
    assert config["mlflow"]["default_permission"] == "EDIT"


def test_secrets_and_certificates_are_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"mlflow/.env", "mlflow/tls/"} <= set(ignored)


def test_the_certificate_of_the_example_is_where_compose_puts_it(compose: dict[str, Any]) -> None:
    assert "./tls:/settings/tls:ro" in compose["services"]["mlflow"]["volumes"]
    text = (FOLDER / "server.env").read_text(encoding="utf-8")
    assert "--ssl-certfile=/settings/tls/cert.pem --ssl-keyfile=/settings/tls/key.pem" in text


def test_the_example_holds_no_secret() -> None:
    lines = (FOLDER / "server.env").read_text(encoding="utf-8").splitlines()
    secrets = dict(line.split("=", 1) for line in lines if re.match(r"\w*(PASSWORD|SECRET_KEY)=", line))
    assert len(secrets) == 3
    assert set(secrets.values()) == {""}


def test_compose_pins_the_version_that_ikd_allows(compose: dict[str, Any]) -> None:
    from packaging.requirements import Requirement

    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    ours = next(Requirement(line.split('"')[1]) for line in lines if line.strip().startswith('"mlflow'))
    recipe = compose["services"]["mlflow"]["build"]["dockerfile_inline"]
    pinned = re.search(r"mlflow\[auth\]==([\d.]+)", recipe)
    assert pinned
    assert ours.specifier.contains(pinned[1])


def test_auth_settings_are_those_of_mlflow() -> None:
    config = configparser.ConfigParser()
    config.read(FOLDER / "basic_auth.ini")
    assert config["mlflow"]["default_permission"] in {"READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"}
    assert "admin_password" not in config["mlflow"]

    import mlflow

    shipped = configparser.ConfigParser()
    path = Path(mlflow.__file__).parent / "server" / "auth" / "basic_auth.ini"
    shipped.read(path)
    optional = {"auth_cache_ttl_seconds"}  # in the shipped file as a comment
    assert set(config["mlflow"]) - optional <= set(shipped["mlflow"])
    assert "auth_cache_ttl_seconds" in path.read_text(encoding="utf-8")


def test_project_runs_a_sweep_with_its_parameters() -> None:
    from mlflow.projects import _project_spec

    project = _project_spec.load_project(str(FOLDER))
    entry = project.get_entry_point("main")
    command = entry.compute_command({"space": "a b.yaml", "runner": "r.yaml", "name": "n"}, None)
    assert shlex.split(command) == ["cd", "..", "&&", "ikd", "sweep", "a b.yaml", "--runner", "r.yaml", "--name", "n"]
    defaults = shlex.split(entry.compute_command({}, None))
    assert defaults[5:] == ["search_spaces/quickstart.yaml", "--runner", "runners/local.yaml", "--name", "quickstart"]


STAND_IN = """#!{python}
import os, sys
from pathlib import Path
from ikd.tracking import open_tracker

home = Path(os.environ["IKD_TEST_HOME"])
(home / "out").write_text(" ".join([os.getcwd(), *sys.argv[1:]]))
with open_tracker("local", home=home, folder=home / "sweep") as tracker:
    tracker.start_sweep("first", tags={{}}, params={{}})
    tracker.end_sweep("finished")
"""


@pytest.mark.slow
def test_project_starts_the_command_in_the_root_and_its_run_leads_to_the_sweeps(tmp_path: Path) -> None:
    """`mlflow run` reaches `ikd` with the parameters, in the repository's root (a stand-in takes the place of ikd)."""
    from mlflow import MlflowClient

    stand_in = tmp_path / "ikd"
    stand_in.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    stand_in.chmod(0o755)
    caller, mine = f"sqlite:///{tmp_path / 'caller.db'}", f"sqlite:///{tmp_path / 'mlflow.db'}"
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "IKD_TEST_HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": caller,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "run", str(FOLDER), "--env-manager", "local", "-P", "name=first"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = f"{ROOT} sweep search_spaces/quickstart.yaml --runner runners/local.yaml --name first"
    assert (tmp_path / "out").read_text(encoding="utf-8") == expected
    (project,) = MlflowClient(caller).search_runs(["0"])
    sweep = MlflowClient(mine).get_run(project.data.tags["ikd.sweep_run"])
    assert sweep.data.tags["ikd.sweep"] == project.data.tags["ikd.sweep"] == "first"
    assert sweep.data.tags["ikd.project_run"] == project.info.run_id
