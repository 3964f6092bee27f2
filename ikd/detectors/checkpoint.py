"""Reading checkpoints of any age without running what is inside them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.util
import netrc
import pickle
import re
import shutil
import tempfile
import urllib.request
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor

from ikd.detectors.kinds.panoptic import things
from ikd.errors import CheckpointError
from ikd.files import link_whole, sha256, whole, write_text
from ikd.world import reach_this_machine_directly

_numpy: Any = importlib.import_module("numpy._core.multiarray")  # private, and named in every pickled array
_DTYPES = "?bhilqBHILQefdFD"


@dataclass(frozen=True)
class Checkpoint:
    """Weights as read from a file.

    Attributes:
        state_dict: weights of the detector alone, without what wrappers put into their names.
        classes: class names the weights were trained for, where the file says so; of a PanopticFPN those of its boxes.
        sha256: hex digest of the file.
        source: path or URL, for messages.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    classes: tuple[str, ...] | None
    sha256: str
    source: str


def read_checkpoint(path_or_url: str | Path, cache_dir: Path | None = None) -> Checkpoint:
    """Read a checkpoint of mmdet 2.x, mmdet 3.x or ikd, or a bare state dict; only weights, never code.

    Args:
        path_or_url: a file, or http(s) URL.
        cache_dir: where a download is kept, under the hash of its content; needed for URLs.

    Raises:
        CheckpointError: missing, cut short, no checkpoint, or holding a class that is not on the list of harmless ones.
    """
    source = str(path_or_url)
    path = fetch(source, cache_dir) if re.match(r"https?://", source) else Path(source).expanduser()
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {source!r}")
    content = _load(path, source)
    weights = _weights(content, source)
    return Checkpoint(weights, things(_classes(content), weights), sha256(path), source)


class _Inert:
    """Stands for mmengine's HistoryBuffer: takes any state and keeps none of it."""

    def __setstate__(self, state: object) -> None:
        del state


def _no_attribute(owner: object, name: str) -> None:
    """Stand for the `getattr` that old training logs use to name their statistics; finds nothing."""
    del owner, name


def _harmless() -> list[Any]:
    """Return what an old OpenMMLab checkpoint may hold beside tensors: numpy values, and logs that are thrown away.

    mmengine's own list holds the real `getattr`, with which a file can reach any function; here it is inert.
    """
    dtypes = {type(np.dtype(code)) for code in [*_DTYPES, "U1"]}
    entries: list[Any] = [np.ndarray, np.dtype, slice, *dtypes]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        entries += [
            (_numpy._reconstruct, f"{module}._reconstruct"),
            (_numpy.scalar, f"{module}.scalar"),
        ]
    entries += [(_Inert, "mmengine.logging.history_buffer.HistoryBuffer"), (_no_attribute, "builtins.getattr")]
    return entries


def load_weights_only(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """Stand for mmengine's loader, which unpickles anything where a file holds more than weights.

    Raises:
        CheckpointError: it is no checkpoint, or holds a class that is not on the list of harmless ones.
    """
    del weights_only
    if isinstance(file, (str, Path)):
        return _load(Path(file), str(file), map_location)
    with torch.serialization.safe_globals(_harmless()):
        return torch.load(file, map_location=map_location, weights_only=True)


def _load(path: Path, source: str, map_location: Any = "cpu") -> Any:
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign pickle's protocol; what follows from it is an error
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|Unsupported (?:class|global):?(?: GLOBAL)?|class) `?([\w.]+)`?", str(error))
        if named and "." in named[1]:
            raise CheckpointError(
                f"checkpoint {source!r} holds {named[1]}, which is not on the list of harmless classes; "
                "save it again with weights only"
            ) from None
        raise CheckpointError(f"{source!r} is no checkpoint, or was cut short: {_cause(path, error)}") from None
    except Exception as error:  # torch raises many kinds at a file that is not its own
        raise CheckpointError(f"{source!r} is no checkpoint, or was cut short: {_cause(path, error)}") from None


def _cause(path: Path, error: Exception) -> str:
    """Say what a file is that torch cannot read; what torch says of most is how to run what is inside."""
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as unread:
        return str(unread)
    if not start:
        return "it is empty"
    if path.suffix == ".safetensors":
        if importlib.util.find_spec("safetensors") is None:
            return "safetensors are read with the package of that name: pip install safetensors"
        return "it is a damaged file of safetensors"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "it is a web page, perhaps a download that failed"
    if start.startswith(b"version https://git-lfs"):
        return "it is Git LFS's note of the file; fetch it with git lfs pull"
    if start.startswith(b"PK"):
        return "it begins as one and has no end; copy or download it again"
    if start.isascii() and start.decode("ascii").replace("\n", " ").replace("\t", " ").replace("\r", " ").isprintable():
        return f"it is a text that begins with {start[:24].decode('ascii')!r}"
    if isinstance(error, pickle.UnpicklingError):
        return "it is a pickle that torch did not write, or a damaged one"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _weights(content: Any, source: str) -> OrderedDict[str, Tensor]:
    """Return the state dict inside a checkpoint, its prefixes stripped and its version records kept."""
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _HOLDERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        found = (", ".join(map(str, state)) or "nothing") if isinstance(state, Mapping) else type(state).__name__
        raise CheckpointError(f"{source!r} holds no state dict of tensors; found {found[:200]}")
    versions = getattr(state, "_metadata", None)
    weights = _unwrapped(state)
    if versions is not None:
        weights._metadata = _unwrapped(versions)  # type: ignore[attr-defined]
    return weights


_HOLDERS = ("state_dict", "ema_state_dict", "model_state_dict", "model")
"""Where trainers put the weights; of several the first: mmengine saves the averaged ones there."""
WRAPPERS = ("module.", "student.", "architecture.")
"""What DistributedDataParallel, semi-supervised training and ikd, and mmrazor put in front of the weights of the
trained detector; what lacks it then (a teacher, connectors) is another's."""
COMPILED = "_orig_mod"
"""What torch.compile puts in front of the names of whatever module it wraps, the detector or a part of it."""


def _unwrapped(state: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Take off what wrappers put into names, in whatever order they were nested."""
    found = OrderedDict((_without_compiler(str(key)), value) for key, value in state.items())
    while True:
        # mmcv 1.x keeps EMA copies as ema_* buffers beside the weights; EMA averages count their steps
        found = OrderedDict((key, one) for key, one in found.items() if not key.startswith("ema_") and key != "steps")
        prefix = next((one for one in WRAPPERS if any(key.startswith(one) for key in found)), None)
        if prefix is None:
            return found
        found = OrderedDict((key.removeprefix(prefix), one) for key, one in found.items() if key.startswith(prefix))


def _without_compiler(key: str) -> str:
    return ".".join(part for part in key.split(".") if part != COMPILED)


def _classes(content: Any) -> tuple[str, ...] | None:
    """Return the class names of mmdet 3.x (`meta.dataset_meta.classes`) or 2.x (`meta.CLASSES`)."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return None
    dataset = meta.get("dataset_meta")
    for owner, key in ((dataset, "classes"), (dataset, "CLASSES"), (meta, "CLASSES"), (meta, "classes")):
        if isinstance(owner, Mapping) and owner.get(key):
            names = owner[key]
            return (names,) if isinstance(names, str) else tuple(str(name) for name in names)
    return None


_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1 << 20


def fetch(url: str, cache_dir: Path | None) -> Path:
    """Return the local copy of `url`, downloaded at most once: `cache_dir/<sha256>/<name>`.

    A copy whose content no longer has its hash is fetched again. A name that ends in `-<8 hex digits>`, as
    OpenMMLab's do, must match the content.

    Raises:
        CheckpointError: no cache folder, the download failed, was cut short, or has the wrong content.
    """
    if cache_dir is None:
        raise CheckpointError(f"cannot fetch {url!r}: no cache folder was given")
    name = PurePosixPath(urlsplit(url).path).name or "checkpoint.pth"
    note = cache_dir / "urls" / hashlib.sha256(url.encode()).hexdigest()
    if note.is_file():
        digest = note.read_text().strip()
        path = cache_dir / digest / name
        if path.is_file() and sha256(path) == digest:
            return path
    return _download(url, cache_dir, name, note)


def _asked(url: str) -> urllib.request.Request:
    """Return the request for a URL, with the name and password that ~/.netrc has for its host, and for no other."""
    request = urllib.request.Request(url)
    with contextlib.suppress(OSError, netrc.NetrcParseError):  # none, or none that can be read: the server will say
        if known := netrc.netrc().authenticators(urlsplit(url).hostname or ""):
            told = base64.b64encode(f"{known[0]}:{known[2]}".encode()).decode("ascii")
            request.add_unredirected_header("Authorization", f"Basic {told}")
    return request


def _download(url: str, cache_dir: Path, name: str, note: Path) -> Path:
    reach_this_machine_directly()
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=cache_dir) as aside:  # its hash says where it goes
            copy = Path(aside) / name
            with (
                whole(copy) as partial,
                partial.open("wb") as target,
                urllib.request.urlopen(_asked(url), timeout=_TIMEOUT_SECONDS) as answer,
            ):
                shutil.copyfileobj(answer, target, _CHUNK_BYTES)
                expected = answer.headers.get("Content-Length")
            size = copy.stat().st_size
            if expected is not None and size != int(expected):
                raise CheckpointError(f"the download of {url!r} was cut short: {size} of {expected} bytes")
            digest = sha256(copy)
            promised = re.search(r"-([0-9a-f]{8})\.\w+$", name)
            if promised and not digest.startswith(promised[1]):
                raise CheckpointError(f"{url!r} has the hash {digest[:8]}, its name promises {promised[1]}")
            path = cache_dir / digest / name
            path.parent.mkdir(exist_ok=True)
            link_whole(copy, path)
        write_text(note, digest)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise CheckpointError(f"cannot fetch {url!r}: {error}") from error
    return path
