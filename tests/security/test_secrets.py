"""Passwords, tokens and keys: in no message, log, tag or card, and in files that only their owner may read."""

from __future__ import annotations

import base64
import json
import pickle
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

from ikd.config import Runner, SweepFiles, load_recipe
from ikd.detectors import read_checkpoint
from ikd.errors import BadInput, ConfigError, JobError, Problem, first_line, refuse
from ikd.files import write_text
from ikd.logs import Log, kept
from ikd.masking import has_secret, masked
from ikd.sweep.study.folder import SweepFolder, write_files
from ikd.tracking.names import value_text
from ikd.tracking.open import make_sink
from tests.unit.sweep.conftest import make_space

PASSWORD = "s3cret/Pa:ss@w0rd"
ADDRESSES = [
    f"postgresql://user:{PASSWORD}@host:5432/ikd",
    f"postgresql+psycopg://user:{PASSWORD}@host/ikd?sslmode=require",
    f"http://user:{PASSWORD}@host:5000",
    f"s3://AKIAEXAMPLE:{PASSWORD}@bucket/path?endpoint_override=http://1.2.3.4:9000",
    f"http://proxy:{PASSWORD}@proxy:3128/",
    f"https://host/teacher.pth?X-Amz-Signature={PASSWORD}&X-Amz-Date=1",
    f"https://host/teacher.pth?sig={PASSWORD}",
    f"postgresql://host/ikd?user=a&password={PASSWORD}",
    f"https://{PASSWORD.replace('/', '').replace(':', '').replace('@', '')}abcdef@host/x",
    f"password={PASSWORD}",
    f"Authorization: Basic {base64.b64encode(PASSWORD.encode()).decode()}",
    f"Authorization: Bearer {PASSWORD.replace(':', '').replace('@', '')}",
]
PARTS = ("s3cret", "Pa:ss", "w0rd", base64.b64encode(PASSWORD.encode()).decode())
PLAIN = [
    "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
    "postgresql://user@host/ikd",
    "s3://bucket/path",
    "/home/me@work/data: 3 images",
    "the token of a cluster is RAY_AUTH_TOKEN",
    "sqlite:////home/me@work/mlflow.db",
    "http://host:5000/a@b",
    "tokens: 3, key 4, sig = 0.5",
]


def is_clean(text: str) -> bool:
    return not any(part in text for part in PARTS)


@pytest.mark.parametrize("text", ADDRESSES)
@pytest.mark.parametrize("form", ["{}", "cannot reach {!r}: refused", '{{"uri": "{}"}}', "a ({}), b", "{0}, {0}"])
def test_secrets_are_taken_out_of_texts(text: str, form: str) -> None:
    said = masked(form.format(text))
    assert is_clean(said), said
    assert "***" in said
    assert masked(said) == said, "twice is once"
    assert has_secret(form.format(text))


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert masked(text) == text
    assert not has_secret(text)


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_what_the_environment_holds_is_taken_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "correct horse")
    assert masked("the server said: no correct horse here") == "the server said: no *** here"


def test_words_and_paths_of_the_environment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "ikd")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
    assert masked("ikd reads /var/run/token") == "ikd reads /var/run/token"


@pytest.mark.parametrize("address", ADDRESSES)
def test_errors_say_none(address: str) -> None:
    problem = Problem("runner.yaml", "study", address + "x" * 300, "must be sqlite")
    errors: list[Exception] = [JobError(f"{address} is away"), BadInput(address), ConfigError([problem])]
    with pytest.raises(BadInput) as refused:
        refuse("tracking.uri", "must be local", address)
    for error in [*errors, refused.value]:
        assert is_clean(str(error)), str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert is_clean(first_line(RuntimeError(address)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_logs_hold_none(address: str, tmp_path: Path) -> None:
    log = Log(tmp_path / "train.log")
    log.write(f"one\nTraceback: {address!r}\n")
    with kept(log):
        print(f"asked {address}")
    text = log.path.read_text()
    assert is_clean(text)
    assert text.count("***") >= 2


@pytest.mark.parametrize("address", ADDRESSES)
def test_mlflow_is_told_none(address: str) -> None:
    for value in (address, [address], {"checkpoint": address}):
        assert is_clean(value_text(value, 1000))


def test_a_wrong_tracker_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        make_sink(f"ftp://user:{PASSWORD}@host", tmp_path, "ikd")
    assert is_clean(str(error.value))


@pytest.mark.parametrize(
    ("runner", "private"),
    [
        ({"study": f"postgresql://u:{PASSWORD}@h/d"}, True),
        ({"tracking": {"uri": f"http://u:{PASSWORD}@h:1"}}, True),
        ({"storage": f"s3://key:{PASSWORD}@bucket/p"}, True),
        ({"study": "postgresql://u@h/d"}, False),
        ({}, False),
    ],
)
def test_files_of_a_sweep_with_secrets_are_their_owners(
    runner: dict[str, object], private: bool, tmp_path: Path
) -> None:
    space, recipe = make_space(), load_recipe("drawn_r18")
    folder = SweepFolder("s", tmp_path)
    write_files(folder, SweepFiles(space, recipe, Runner.model_validate_json(json.dumps(runner))))
    others = stat.S_IMODE(folder.files.stat().st_mode) & 0o077
    assert (others == 0) is private


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x", private=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_recipe_holds_no_password() -> None:
    with pytest.raises(ConfigError, match=r"netrc") as error:
        load_recipe("drawn_r18", {"student.checkpoint": f"https://u:{PASSWORD}@host/x.pth"})
    assert is_clean(str(error.value))
    assert load_recipe("drawn_r18", {"student.checkpoint": "https://host/x.pth"}).student.checkpoint


class _Guarded(BaseHTTPRequestHandler):
    """Gives a checkpoint to who has the password, and sends others of its paths to another host."""

    asked: list[tuple[str, str | None]]
    content: bytes

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.path == "/moved.pth":
            self.send_response(302)
            port = self.headers["Host"].rpartition(":")[2]
            self.send_header("Location", f"http://127.0.0.1:{port}/free.pth")
            self.end_headers()
            return
        known = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        allowed = self.path == "/free.pth" or self.headers.get("Authorization") == f"Basic {known}"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(self.content) if allowed else 0))
        self.end_headers()
        if allowed:
            self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "content.pth")
    _Guarded.asked, _Guarded.content = [], (tmp_path / "content.pth").read_bytes()
    monkeypatch.setenv("HOME", str(tmp_path))
    made = HTTPServer(("127.0.0.1", 0), _Guarded)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_host_is_told_the_password_that_netrc_has_for_it(server: HTTPServer, tmp_path: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(BadInput, match="401"):
        read_checkpoint(f"http://localhost:{port}/a.pth", tmp_path / "cache")
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine localhost login me password {PASSWORD}\n")
    netrc.chmod(0o600)
    assert "a" in read_checkpoint(f"http://localhost:{port}/a.pth", tmp_path / "cache").state_dict
    read_checkpoint(f"http://localhost:{port}/moved.pth", tmp_path / "cache")
    assert _Guarded.asked[-1] == ("/free.pth", None), "another host is told nothing"
