"""Sentences that the page says to the visitor."""

import html

from lxmert_tf.errors import InputError


def message(text: str) -> str:
    """Return a sentence as HTML that screen readers read out.

    Args:
        text: The sentence; nothing is shown if it is empty.
    """
    return _paragraph(text, "status", "note") if text else ""


def error_message(error: InputError) -> str:
    """Return what went wrong as HTML that screen readers read out at once."""
    return _paragraph(sentence_of(error), "alert", "error")


def sentence_of(error: InputError) -> str:
    """Return an error as a sentence for visitors."""
    text = " ".join(str(error).split())
    # A path or a URL stays as it is.
    begins_with_word = text.partition(" ")[0].isalpha()
    text = text[:1].upper() + text[1:] if begins_with_word else text
    return text if text.endswith(".") else f"{text}."


def _paragraph(text: str, role: str, kind: str) -> str:
    return f'<p role="{role}" class="message {kind}">{html.escape(text)}</p>'
