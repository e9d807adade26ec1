"""Sentences as visitors type them."""

from lxmert_tf.errors import InputError

# Models cut longer ones anyway, after 20 word pieces.
MAX_CHARACTERS = 300


def typed_lines(text: str, name: str, most: int) -> list[str]:
    """Return the lines of a text that are not empty.

    Args:
        text: What a visitor has typed.
        name: "question" or "sentence", for messages.
        most: The most lines.

    Raises:
        InputError: There are none, or too many.
    """
    lines = [line.strip()[:MAX_CHARACTERS] for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"type a {name} first")
    if len(lines) > most:
        raise InputError(f"{len(lines)} {name}s are too many; at most {most} at once")
    return lines
