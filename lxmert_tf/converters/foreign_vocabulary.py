"""Word pieces in a directory of Hugging Face: `vocab.txt`, or `tokenizer.json` alone."""

import functools
import json
import logging
import pathlib
from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name, local_directory, published_vocabulary
from lxmert_tf.json_file import read_json
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.text_file import read_lines, write_text

_logger = logging.getLogger(__name__)

VOCABULARY, TOKENIZER, TOKENIZER_CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"


def read_vocabulary(directory: pathlib.Path) -> list[str] | None:
    """Return the word pieces in the order of their ids, or None if the directory has none.

    Args:
        directory: Directory of a model.

    Raises:
        InputError: The file is damaged, or its tokenizer is not one of word pieces.
    """
    if (directory / VOCABULARY).is_file():
        return read_lines(directory / VOCABULARY)
    path = directory / TOKENIZER
    return _pieces(read_json(path), str(path)) if path.is_file() else None


def find_vocabulary(name, size: int) -> list[str] | None:
    """Return the word pieces of a model in the order of their ids, or None if it has none.

    A model on the Hugging Face Hub that has as many as the published ones, but not the pieces
    themselves, has theirs: not all published repositories repeat the file.

    Args:
        name: Directory of the model, or `hf://ORGANIZATION/NAME`.
        size: The number of word pieces.

    Raises:
        InputError: As for `read_vocabulary`, or the published one cannot be downloaded.
    """
    pieces = read_vocabulary(local_directory(name))
    if pieces is None and is_hub_name(name) and size == LxmertConfig().vocab_size:
        return _published_pieces(name)
    return pieces


@functools.cache
def _published_pieces(name: str) -> list[str]:
    _logger.warning("%s: no vocabulary is stored; using that of the other published models", name)
    return read_lines(published_vocabulary())


def write_vocabulary(directory: pathlib.Path, pieces: list[str]) -> None:
    """Write the files from which transformers makes its tokenizer of LXMERT.

    Args:
        directory: Directory of a model.
        pieces: Word pieces in the order of their ids.
    """
    write_text(directory / VOCABULARY, "".join(f"{piece}\n" for piece in pieces))
    config = {"do_lower_case": True, "tokenizer_class": "LxmertTokenizer"}
    write_text(directory / TOKENIZER_CONFIG, json.dumps(config, indent=1) + "\n")


def _pieces(content: Any, where: str) -> list[str]:
    """Return the word pieces in the content of a tokenizer.json."""
    try:
        model = content["model"]
        kind = model.get("type", "WordPiece")
        ids = dict(model["vocab"]) if kind == "WordPiece" else {}
        # Pieces that were added to a finished vocabulary come after it.
        ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: not a tokenizer of Hugging Face; give a vocab.txt") from error
    prefix = model.get("continuing_subword_prefix", "##")
    if kind != "WordPiece" or prefix != "##":
        raise InputError(
            f"{where}: the tokenizer is {kind} with the prefix {prefix!r}; a model needs WordPiece "
            "with '##'"
        )
    if not all(isinstance(piece, str) for piece in ids):
        raise InputError(f"{where}: a word piece is not a string")
    numbers = list(ids.values())
    # JSON's true would be a 1.
    if any(type(n) is not int for n in numbers) or sorted(numbers) != list(range(len(ids))):
        raise InputError(f"{where}: the ids of the word pieces are not 0 to {len(ids) - 1}")
    return sorted(ids, key=ids.__getitem__)
