"""A team's MLflow server, as docs/howto/team.md says: people, passwords, permissions, TLS, backup and upgrade.

The server is MLflow's own, with the settings of mlflow/, over PostgreSQL; the page's own code adds people.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ikd.errors import BadInput
from ikd.tracking import open_tracker
from ikd.tracking.mlflow_check import check_tracking
from tests.faults.postgres_server import binaries, postgres_server
from tests.faults.team_server import ADMIN_PASSWORD, ROOT, certificate, environment, team_server

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(binaries() is None, reason="needs PostgreSQL's initdb and postgres (Debian: postgresql)"),
]
PAGE = (ROOT / "docs" / "howto" / "team.md").read_text(encoding="utf-8")
ANN, BOB = "at least twelve characters", "another twelve characters"
EXPERIMENT = "cells"


@dataclass(frozen=True)
class Team:
    """A server, and what is needed to be somebody there."""

    uri: str
    database: str
    folder: Path
    certificate: Path
    patch: pytest.MonkeyPatch

    def be(self, user: str, password: str) -> None:
        self.patch.setenv("MLFLOW_TRACKING_USERNAME", user)
        self.patch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri, self.uri)

    def sweep(self, name: str) -> str:
        """Tell of a sweep as its driver does; return the id of its run."""
        home = self.folder / name
        with open_tracker(self.uri, home=home, folder=home / "sweep", experiment=EXPERIMENT) as tracker:
            tracker.start_sweep(name, tags={}, params={"trials": 1})
            tracker.start_trial(0, name="student alone", params={}, tags={})
            tracker.log(0, 1, {"bbox_mAP": 0.25})
            tracker.end_trial(0, "finished")
            tracker.end_sweep("finished")
            assert tracker.flush(120)
        client = self.client()
        number = client.get_experiment_by_name(EXPERIMENT).experiment_id
        (run,) = client.search_runs([number], f"tags.`ikd.sweep` = '{name}' and tags.`ikd.trial` = 'sweep'")
        return str(run.info.run_id)


def code(title: str) -> str:
    (found,) = re.findall(rf'^```\w+ title="{title}"\n(.*?)^```$', PAGE, flags=re.M | re.S)
    return found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    tls = certificate(folder)
    with postgres_server() as url, pytest.MonkeyPatch.context() as patch:
        database = url.replace("postgresql:", "postgresql+psycopg:")
        with team_server(folder, database, tls) as uri:
            patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tls[0]))
            patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            made = Team(uri, url, folder, tls[0], patch)
            made.be("admin", ADMIN_PASSWORD)
            made_people: dict[str, Any] = {}
            exec(code("add people").replace("http://HOST:5000", uri), made_people)
            yield made


@pytest.fixture
def people(team: Team) -> Any:
    from mlflow.server import get_app_client

    team.be("admin", ADMIN_PASSWORD)
    return get_app_client("basic-auth", tracking_uri=team.uri)


def refused(status: str) -> Any:
    from mlflow.exceptions import MlflowException

    return pytest.raises(MlflowException, match=status)


def test_a_second_person_works_at_once(team: Team) -> None:
    team.be("ann", ANN)
    first = team.sweep("anns")
    team.be("bob", BOB)
    assert check_tracking(team.uri, home=team.folder, experiment=EXPERIMENT) == ""
    second = team.sweep("bobs")
    assert {team.client().get_run(one).info.status for one in (first, second)} == {"FINISHED"}
    for run in (first, second):
        with refused("403|Permission denied"):
            team.client().delete_run(run)
    team.be("ann", ANN)  # who made the experiment
    team.client().delete_run(second)
    team.client().restore_run(second)


@pytest.mark.parametrize(("user", "password"), [("nobody", ANN), ("ann", "a wrong password")])
def test_who_is_not_known_is_refused_before_a_sweep(team: Team, user: str, password: str) -> None:
    team.be(user, password)
    with pytest.raises(BadInput, match="wants a name and a password that it knows"):
        check_tracking(team.uri, home=team.folder, experiment=EXPERIMENT)


def test_an_unknown_certificate_is_refused(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.be("ann", ANN)
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with refused("certificate"):
        team.client().search_experiments()


def test_people_cannot_make_or_change_others(team: Team) -> None:
    from mlflow.server import get_app_client

    team.be("bob", BOB)
    as_bob = get_app_client("basic-auth", tracking_uri=team.uri)
    acts: tuple[Callable[[], Any], ...] = (
        lambda: as_bob.create_user("eve", "twelve characters"),
        lambda: as_bob.update_user_password("ann", "twelve characters"),
        lambda: as_bob.delete_user("ann"),
        lambda: as_bob.update_user_admin("bob", True),
    )
    for act in acts:
        with refused("403|Permission denied"):
            act()


def test_somebody_is_let_into_an_experiment(team: Team, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # which the page's lines set
    team.be("admin", ADMIN_PASSWORD)
    if team.client().get_experiment_by_name(EXPERIMENT) is None:
        team.client().create_experiment(EXPERIMENT)
    text = code("let somebody in").replace("http://HOST:5000", team.uri).replace('"ann"', '"bob"')
    exec(text, {"people": people})
    number = team.client().get_experiment_by_name(EXPERIMENT).experiment_id
    assert people.get_user_permission("bob", "experiment", number).permission == "EDIT"


def test_passwords_are_changed_by_who_may(team: Team, people: Any) -> None:
    from mlflow.server import get_app_client

    people.create_user("cleo", "the first password")
    team.be("cleo", "the first password")
    herself = get_app_client("basic-auth", tracking_uri=team.uri)
    herself.update_user_password("cleo", "the second password", "the first password")
    with refused("401|not authenticated|credentials"):
        team.client().search_experiments()
    team.be("cleo", "the second password")
    assert team.client().search_experiments()


def test_the_administrators_lines_work(team: Team, people: Any) -> None:
    people.create_user("dora", "at least twelve characters")
    text = code("change passwords").replace('"ann"', '"dora"')
    exec(text, {"people": people})
    assert people.get_user("dora").is_admin
    team.be("bob", "the administrator's choice")
    with refused("401|not authenticated|credentials"):
        team.client().search_experiments()
    team.be("admin", ADMIN_PASSWORD)
    people.create_user("bob", BOB)


def test_what_was_saved_comes_back_and_is_upgraded(team: Team, people: Any, tmp_path: Path) -> None:
    """The commands of the page, without the containers around them."""
    from mlflow import MlflowClient

    team.be("ann", ANN)
    run = team.sweep("saved")
    bin_folder, dump = binaries(), tmp_path / "mlflow.dump"
    assert bin_folder is not None
    assert "pg_dump --username mlflow --format custom mlflow >" in code("back up")
    assert "pg_restore --username mlflow --dbname mlflow <" in code("restore")
    address = team.database.rpartition("/")[0]
    saved = subprocess.run(
        [bin_folder / "pg_dump", "--format", "custom", team.database], capture_output=True, check=True
    )
    dump.write_bytes(saved.stdout)
    subprocess.run([bin_folder / "psql", team.database, "-c", "create database again"], capture_output=True, check=True)
    with dump.open("rb") as file:
        subprocess.run([bin_folder / "pg_restore", "--dbname", f"{address}/again"], stdin=file, check=True)
    restored = f"{address}/again".replace("postgresql:", "postgresql+psycopg:")
    assert 'mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"' in code("upgrade")
    env = environment(tmp_path, restored, (team.certificate, team.certificate))
    subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", restored], env=env, check=True, capture_output=True
    )
    assert MlflowClient(restored, restored).get_run(run).data.tags["ikd.sweep"] == "saved"
