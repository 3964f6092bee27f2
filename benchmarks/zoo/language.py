"""A language model for detectors that read texts: random, of one layer, and of letters."""

from __future__ import annotations

import string
from pathlib import Path

from ikd.home import entry

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?")


def language_folder() -> Path:
    """Return the folder of a BERT that reads lower-case letters and digits, as transformers keeps one; made once.

    Its width is that of BERT's base, which GLIP counts on.
    """
    with entry("drawn", "language") as folder:
        if not (folder / "model.safetensors").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder)
    return folder


def _write(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = string.ascii_lowercase + string.digits
    words = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(BertConfig(vocab_size=len(words), num_hidden_layers=1, intermediate_size=64))
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    model.save_pretrained(folder)
