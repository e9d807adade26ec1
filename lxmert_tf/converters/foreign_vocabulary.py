"""Word pieces in a directory of Hugging Face: `vocab.txt`, or `tokenizer.json` alone."""

import json
import pathlib
from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from lxmert_tf.text_file import read_lines, write_text

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
