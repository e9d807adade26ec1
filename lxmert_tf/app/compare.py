"""The part of the page that judges statements about two pictures."""

import dataclasses
import html
from typing import Any

import gradio as gr

from lxmert_tf.app.bars import CHOOSE, bar_list
from lxmert_tf.app.events import USES_MODEL, event_value
from lxmert_tf.app.history import History
from lxmert_tf.app.messages import error_message, message
from lxmert_tf.app.model_tab import ModelTab
from lxmert_tf.app.picture_panel import GivenPicture, PicturePanel
from lxmert_tf.app.sentences import MAX_CHARACTERS
from lxmert_tf.app.visitor_picture import FORGET_AFTER, VisitorPicture
from lxmert_tf.errors import InputError
from lxmert_tf.serving.client import Answers

SIDES = ("Left", "Right")
CHOOSE_FIRST = "Choose two pictures first."


@dataclasses.dataclass(frozen=True)
class Judged:
    """A statement with its judgment.

    Args:
        statement: The statement.
        answers: "True" and "False" with their scores, the better first.
        digests: Digests of the pictures, left and right. The pictures themselves would add up.
        name: The model.
    """

    statement: str
    answers: Answers
    digests: tuple[bytes, ...]
    name: str


class CompareTab(ModelTab):
    """Judges statements about two pictures; see `ModelTab`."""

    def build(self) -> None:
        """Add the components and their events to the page that is being built."""
        note = gr.HTML(message(CHOOSE_FIRST), elem_id="compare-note", render=False)
        model = self._model_choice("compare")
        panels, pictures = [], []
        with gr.Row(equal_height=False):
            for side in SIDES:
                with gr.Column(scale=1, min_width=320):
                    panels.append(
                        PicturePanel(f"{side} picture", side.lower(), self._examples, note)
                    )
                    pictures.append(gr.State(None, time_to_live=FORGET_AFTER))
        judged = gr.State(History(), time_to_live=FORGET_AFTER)
        note.render()
        statement = gr.Textbox(
            label="Your statement",
            placeholder="A statement, true or false",
            info="About both pictures. Press Enter to have it judged.",
            max_length=MAX_CHARACTERS,
            submit_btn="Judge",
            elem_id="compare-statement",
        )
        history = gr.HTML("", js_on_load=CHOOSE, elem_id="compare-history")
        for side, panel, picture in zip(SIDES, panels, pictures):
            panel.on_picture(self._reader(side), [model], [picture])
            panel.on_forget(lambda: (message(CHOOSE_FIRST), None), [note, picture])
        statement.submit(
            self._judge,
            [statement, *pictures, judged, model],
            [statement, *pictures, judged, history, note],
            **USES_MODEL,
        )
        views = [panel.view for panel in panels]
        history.select(self._explain, [judged, *pictures], [*views, note], **USES_MODEL)

    def _reader(self, side: str):
        def read(given: GivenPicture, name: str):
            picture = VisitorPicture(given.file).read_by(self._models, name)
            view = picture.regions_view(name, f"{side} picture")
            return view, f"{side} picture: {picture.count_regions(name)}", picture

        return read

    def _judge(
        self,
        text: str,
        left: VisitorPicture | None,
        right: VisitorPicture | None,
        judged: History[Judged],
        name: str,
    ):
        statement = " ".join(text.split())[:MAX_CHARACTERS]
        try:
            if left is None or right is None:
                raise InputError(CHOOSE_FIRST)
            if not statement:
                raise InputError("type a statement first")
            left, right = (picture.read_by(self._models, name) for picture in (left, right))
            answers = self._models[name].judge(left.by_model[name], right.by_model[name], statement)
        except InputError as error:
            kept = (gr.skip(),) * 5
            return *kept, error_message(error)
        judged = judged.with_entries(Judged(statement, answers, (left.digest, right.digest), name))
        sentence = f"The model says: {answers[0][0]}. {self._how_to_see_attention(name)}"
        return "", left, right, judged, self._history(judged), message(sentence)

    def _explain(
        self,
        judged: History[Judged],
        left: VisitorPicture | None,
        right: VisitorPicture | None,
        event: gr.EventData,
    ):
        try:
            chosen = _chosen(judged, event_value(event, "choice"))
            pictures = [picture for picture in (left, right) if picture is not None]
            if tuple(picture.digest for picture in pictures) != chosen.digests:
                raise InputError("the pictures have changed since; judge the statement again")
            views = [
                picture.attention_view(
                    self._models, chosen.name, chosen.statement, f"{side} picture"
                )
                for side, picture in zip(SIDES, pictures)
            ]
        except InputError as error:
            return gr.skip(), gr.skip(), error_message(error)
        sentence = f"The pictures show where the model looked for “{chosen.statement}”."
        return *views, message(sentence)

    def _history(self, judged: History[Judged]) -> str:
        cards = [self._card(number, one) for number, one in judged.numbered()]
        return f'<div class="history">{"".join(cards)}</div>'

    def _card(self, number: int, one: Judged) -> str:
        explains = self._models[one.name].shows_attention
        bars = bar_list(
            one.answers,
            f"Judgment of: {one.statement}",
            str(number) if explains else None,
            "Show where the model looked",
        )
        by = f"<h4>{html.escape(one.name)}</h4>" if len(self._models.names) > 1 else ""
        return f"<article><h3>{html.escape(one.statement)}</h3>{by}{bars}</article>"


def _chosen(judged: History[Judged], choice: Any) -> Judged:
    """Return the statement that a button stands for."""
    found = judged.find(str(choice).partition("-")[0])
    if found is None:
        raise InputError("this statement is no longer here; judge it again")
    return found
