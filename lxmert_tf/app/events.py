"""Options of the page's events, and the values that they carry."""

from typing import Any

import gradio as gr

# The page offers no API.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# One at a time, over all tabs and visitors.
USES_MODEL: dict[str, Any] = {**PRIVATE, "concurrency_id": "model"}


def event_value(event: gr.EventData, name: str) -> Any:
    """Return a value that the page's JavaScript sent with an event, unchecked; None if missing."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None
