"""The whole page, as an application that a web server runs."""

import importlib.resources

import fastapi
import gradio as gr

from lxmert_tf.app.ask import AskTab
from lxmert_tf.app.example_pictures import Example
from lxmert_tf.app.model_choices import ModelChoices
from lxmert_tf.app.page_model import Task
from lxmert_tf.app.uploads import MAX_MEGABYTES
from lxmert_tf.visualization.explorer import explorer_script

TITLE = "LXMERT: questions about pictures"
_INTRODUCTION = {
    Task.ANSWER: "Give the model a picture, ask about it, and see where it looked.",
}
# Visitors who wait for an answer; more are told to come back.
MAX_WAITING = 32
# Seconds: uploaded pictures are looked for this often, and removed at this age.
CLEAN_EVERY, KEEP_UPLOADS = 60, 600
# Fonts of the visitor's own system: nothing is fetched.
_FONT = ("system-ui", "sans-serif")
_MONOSPACE = ("ui-monospace", "monospace")


def create_app(models: ModelChoices, examples: list[Example]) -> fastapi.FastAPI:
    """Return the application.

    Args:
        models: The models to choose from.
        examples: Pictures to try.
    """
    assert models.task is not None
    theme = gr.themes.Default(
        font=[gr.themes.Font(name) for name in _FONT],
        font_mono=[gr.themes.Font(name) for name in _MONOSPACE],
    )
    css = (importlib.resources.files("lxmert_tf.app") / "page.css").read_text(encoding="utf-8")
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY, KEEP_UPLOADS)
    ) as blocks:
        gr.Markdown(f"# {TITLE}\n{_INTRODUCTION[models.task]}")
        AskTab(models, examples).build()
    blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    return gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=f"{MAX_MEGABYTES}mb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=css,
        head=f"<script>{explorer_script()}</script>",
    )
