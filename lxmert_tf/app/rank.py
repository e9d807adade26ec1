"""The part of the page that ranks sentences by how well they match a picture."""

import dataclasses
from typing import Any

import gradio as gr

from lxmert_tf.app.bars import CHOOSE, bar_list
from lxmert_tf.app.events import USES_MODEL, event_value
from lxmert_tf.app.messages import error_message, message
from lxmert_tf.app.model_tab import ModelTab
from lxmert_tf.app.picture_panel import GivenPicture, PicturePanel
from lxmert_tf.app.sentences import MAX_CHARACTERS, typed_lines
from lxmert_tf.app.visitor_picture import FORGET_AFTER, VisitorPicture
from lxmert_tf.errors import InputError

ALT = "Your picture"
CHOOSE_FIRST = "Choose a picture first."
MAX_SENTENCES = 50


@dataclasses.dataclass(frozen=True)
class Visit:
    """The state of the tab for one visitor.

    Args:
        picture: The picture.
        ranked: The sentences, best first.
        name: The model that has ranked them.
    """

    picture: VisitorPicture
    ranked: tuple[str, ...] = ()
    name: str = ""


class RankTab(ModelTab):
    """Ranks sentences about one picture; see `ModelTab`."""

    def build(self) -> None:
        """Add the components and their events to the page that is being built."""
        visit = gr.State(None, time_to_live=FORGET_AFTER)
        note = gr.HTML(message(CHOOSE_FIRST), elem_id="rank-note", render=False)
        model = self._model_choice("rank")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                panel = PicturePanel("Your picture", "rank", self._examples, note)
            with gr.Column(scale=1, min_width=320):
                note.render()
                sentences = gr.Textbox(
                    label="Sentences",
                    info="One per line, such as captions that may suit the picture.",
                    lines=4,
                    max_lines=12,
                    max_length=MAX_SENTENCES * MAX_CHARACTERS,
                    elem_id="rank-sentences",
                )
                button = gr.Button("Rank", variant="primary", elem_id="rank-button")
                ranking = gr.HTML("", js_on_load=CHOOSE, elem_id="rank-ranking")
        panel.on_picture(self._read, [model], [visit, ranking])
        panel.on_forget(lambda: (message(CHOOSE_FIRST), None, ""), [note, visit, ranking])
        button.click(self._rank, [sentences, visit, model], [visit, ranking, note], **USES_MODEL)
        ranking.select(self._explain, [visit], [panel.view, note], **USES_MODEL)

    def _read(self, given: GivenPicture, name: str):
        picture = VisitorPicture(given.file).read_by(self._models, name)
        sentence = f"{picture.count_regions(name)} Now type sentences about the picture."
        return picture.regions_view(name, ALT), sentence, Visit(picture), ""

    def _rank(self, text: str, visit: Visit | None, name: str):
        try:
            if visit is None:
                raise InputError(CHOOSE_FIRST)
            sentences = typed_lines(text, "sentence", MAX_SENTENCES)
            picture = visit.picture.read_by(self._models, name)
            ranked = self._models[name].rank(picture.by_model[name], sentences)
        except InputError as error:
            return gr.skip(), gr.skip(), error_message(error)
        bars = bar_list(
            ranked, "Sentences, the best match first", "0", "Show where the model looked"
        )
        heading = "<h3>How well each sentence matches</h3>"
        view = f'<div class="history"><article>{heading}{bars}</article></div>'
        best = f"“{ranked[0][0]}” matches best. Choose a sentence to see where the model looked."
        return Visit(picture, tuple(s for s, _ in ranked), name), view, message(best)

    def _explain(self, visit: Visit | None, event: gr.EventData):
        try:
            sentence = _chosen(visit, event_value(event, "choice"))
            assert visit is not None
            view = visit.picture.attention_view(self._models, visit.name, sentence, ALT)
        except InputError as error:
            return gr.skip(), error_message(error)
        return view, message(f"The picture shows where the model looked for “{sentence}”.")


def _chosen(visit: Visit | None, choice: Any) -> str:
    """Return the sentence that a button stands for."""
    try:
        return (() if visit is None else visit.ranked)[int(str(choice).partition("-")[2])]
    except (ValueError, IndexError) as error:
        raise InputError("this sentence is no longer here; rank again") from error
