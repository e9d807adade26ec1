"""The whole page, as an application that a web server runs."""

import importlib.resources

import fastapi
import gradio as gr

from lxmert_tf.app.ask import AskTab
from lxmert_tf.app.compare import CompareTab
from lxmert_tf.app.content_policy import ContentPolicy
from lxmert_tf.app.example_pictures import Example
from lxmert_tf.app.model_choices import ModelChoices
from lxmert_tf.app.model_tab import ModelTab
from lxmert_tf.app.page_model import Task
from lxmert_tf.app.rank import RankTab
from lxmert_tf.app.results import Results, ResultsTab
from lxmert_tf.app.uploads import MAX_MEGABYTES
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.visualization.explorer import explorer_script

TITLE = "LXMERT: questions about pictures"
INTRODUCTION = (
    "A model that reads a picture and a sentence together: give it a picture, and see what it says "
    "and where it looked."
)
# Task -> its name as a tab, and what builds it.
_TABS: dict[Task, tuple[str, type[ModelTab]]] = {
    Task.ANSWER: ("Ask", AskTab),
    Task.JUDGE: ("Compare", CompareTab),
    Task.RANK: ("Rank", RankTab),
}
# Events of visitors that wait for a model; the page refuses more.
MAX_WAITING = 32
# Visitors whose pictures are kept; with more, the one who was there longest ago is forgotten.
MAX_VISITORS = 200
# Seconds: uploaded pictures are looked for this often, and removed at this age.
CLEAN_EVERY, KEEP_UPLOADS = 60, 600
# Fonts of the visitor's own system: nothing is fetched.
_FONT = ("system-ui", "sans-serif")
_MONOSPACE = ("ui-monospace", "monospace")


def create_app(
    models: dict[Task, ModelChoices],
    examples: dict[Task, list[Example]],
    results: Results | None = None,
    pictures: PictureFinder | None = None,
) -> fastapi.FastAPI:
    """Return the application.

    Args:
        models: The models to choose from, by task.
        examples: Pictures to try, by task.
        results: Results of a training or of a pipeline run; None adds no tab for them.
        pictures: Finds the pictures of questions in the results; None finds those of easy-VQA.
    """
    theme = gr.themes.Default(
        font=[gr.themes.Font(name) for name in _FONT],
        font_mono=[gr.themes.Font(name) for name in _MONOSPACE],
    )
    folder = importlib.resources.files("lxmert_tf.app")
    css, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    limit = f"const maxPictureBytes = {MAX_MEGABYTES * 1_000_000};"
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY, KEEP_UPLOADS)
    ) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        tabs: dict[str, ModelTab | ResultsTab] = {
            _TABS[task][0]: _TABS[task][1](models[task], examples[task]) for task in models
        }
        if results is not None:
            tabs["Results"] = ResultsTab(results, pictures or PictureFinder())
        if len(tabs) == 1:
            [tab] = tabs.values()
            tab.build()
        else:
            with gr.Tabs():
                for label, tab in tabs.items():
                    with gr.Tab(label):
                        tab.build()
    blocks.state_session_capacity = MAX_VISITORS
    blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(ContentPolicy)
    return gr.mount_gradio_app(
        app,
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
        head=f"<script>{explorer_script()}</script><script>{limit}\n{script}</script>",
    )
