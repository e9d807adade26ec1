"""The part of the page that answers questions about one picture."""

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
from lxmert_tf.app.sentences import MAX_CHARACTERS, typed_lines
from lxmert_tf.app.visitor_picture import FORGET_AFTER, VisitorPicture
from lxmert_tf.errors import InputError
from lxmert_tf.serving.client import Answers

NONE = "no other"
MAX_QUESTIONS = 20
ALT = "Your picture"
CHOOSE_FIRST = "Choose a picture first."

_SUGGEST = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-question]');
  if (button) trigger('select', {question: button.dataset.question});
});
"""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question with its answers.

    Args:
        question: The question.
        answers: The best answers by name of the model.
    """

    question: str
    answers: dict[str, Answers]


@dataclasses.dataclass(frozen=True)
class Visit:
    """The state of the tab for one visitor.

    Args:
        picture: The picture.
        asked: The questions, in the order in which they were asked.
    """

    picture: VisitorPicture
    asked: History[Asked] = dataclasses.field(default_factory=History)


class AskTab(ModelTab):
    """Answers questions about one picture; see `ModelTab`."""

    def build(self) -> None:
        """Add the components and their events to the page that is being built."""
        visit = gr.State(None, time_to_live=FORGET_AFTER)
        note = gr.HTML(message(CHOOSE_FIRST), elem_id="ask-note", render=False)
        model, other = self._build_choices()
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                panel = PicturePanel("Your picture", "ask", self._examples, note)
            with gr.Column(scale=1, min_width=320):
                note.render()
                question = gr.Textbox(
                    label="Your question",
                    placeholder="Ask about the picture",
                    info="Press Enter to ask. Several lines are several questions.",
                    lines=1,
                    max_lines=6,
                    max_length=MAX_QUESTIONS * MAX_CHARACTERS,
                    submit_btn="Ask",
                    elem_id="ask-question",
                )
                suggestions = gr.HTML("", js_on_load=_SUGGEST, elem_id="ask-suggestions")
                history = gr.HTML("", js_on_load=CHOOSE, elem_id="ask-history")
        panel.on_picture(self._read, [model], [visit, history, suggestions])
        panel.on_forget(self._forget, [note, visit, history, suggestions])
        inputs, outputs = [visit, model, other], [visit, history, note]
        question.submit(self._ask, [question, *inputs], [question, *outputs], **USES_MODEL)
        suggestions.select(self._ask_suggested, inputs, outputs, **USES_MODEL)
        history.select(self._explain, [visit], [panel.view, note], **USES_MODEL)
        model.change(self._reread, [visit, model], [visit, panel.view, note], **USES_MODEL)

    def _build_choices(self) -> tuple[gr.Dropdown, gr.Dropdown]:
        names = self._models.names
        with gr.Row(visible=len(names) > 1):
            model = self._model_choice("ask")
            other = gr.Dropdown(
                [NONE, *names], value=NONE, label="Compare with", elem_id="ask-other"
            )
        return model, other

    def _read(self, given: GivenPicture, name: str):
        picture = VisitorPicture(given.file).read_by(self._models, name)
        sentence = f"{picture.count_regions(name)} Now ask about the picture."
        view = picture.regions_view(name, ALT)
        return view, sentence, Visit(picture), "", _suggested(given.questions)

    def _forget(self):
        return message(CHOOSE_FIRST), None, "", ""

    def _reread(self, visit: Visit | None, name: str):
        if visit is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            picture = visit.picture.read_by(self._models, name)
        except InputError as error:
            return gr.skip(), gr.skip(), error_message(error)
        visit = dataclasses.replace(visit, picture=picture)
        return visit, picture.regions_view(name, ALT), message(picture.count_regions(name))

    def _ask(self, text: str, visit: Visit | None, name: str, other: str):
        try:
            visit, history, sentence = self._answers(text, visit, name, other)
        except InputError as error:
            # The question stays, to be asked again.
            return gr.skip(), gr.skip(), gr.skip(), error_message(error)
        return "", visit, history, message(sentence)

    def _ask_suggested(self, visit: Visit | None, name: str, other: str, event: gr.EventData):
        text = event_value(event, "question")
        return self._ask(str(text or ""), visit, name, other)[1:]

    def _answers(
        self, text: str, visit: Visit | None, name: str, other: str
    ) -> tuple[Visit, str, str]:
        """Return the visit with the answers, the history, and a sentence about them."""
        if visit is None:
            raise InputError(CHOOSE_FIRST)
        questions = typed_lines(text, "question", MAX_QUESTIONS)
        picture = visit.picture
        answers: dict[str, list[Answers]] = {}
        for each in (name, other):
            if each != NONE and each not in answers:
                picture = picture.read_by(self._models, each)
                answers[each] = self._models[each].answer(picture.by_model[each], questions)
        rows = [
            Asked(question, {each: found[i] for each, found in answers.items()})
            for i, question in enumerate(questions)
        ]
        visit = Visit(picture, visit.asked.with_entries(*rows))
        best = ", ".join(row.answers[name][0][0] for row in rows)
        sentence = f"{'Answer' if len(rows) == 1 else 'Answers'}: {best}."
        return visit, self._history(visit), f"{sentence} {self._how_to_see_attention(*answers)}"

    def _explain(self, visit: Visit | None, event: gr.EventData):
        try:
            asked, name = _chosen(visit, event_value(event, "choice"))
            assert visit is not None
            view = visit.picture.attention_view(self._models, name, asked.question, ALT)
        except InputError as error:
            return gr.skip(), error_message(error)
        return view, message(f"The picture shows where the model looked for “{asked.question}”.")

    def _history(self, visit: Visit) -> str:
        cards = [self._card(number, asked) for number, asked in visit.asked.numbered()]
        return f'<div class="history">{"".join(cards)}</div>'

    def _card(self, number: int, asked: Asked) -> str:
        parts = []
        for i, (name, answers) in enumerate(asked.answers.items()):
            bars = bar_list(
                answers,
                f"Answers to: {asked.question}",
                f"{number}-{i}" if self._models[name].shows_attention else None,
                "Show where the model looked",
            )
            title = f"<h4>{html.escape(name)}</h4>" if len(asked.answers) > 1 else ""
            parts.append(f"<div>{title}{bars}</div>")
        heading = f"<h3>{html.escape(asked.question)}</h3>"
        return f'<article>{heading}<div class="by-model">{"".join(parts)}</div></article>'


def _chosen(visit: Visit | None, choice: Any) -> tuple[Asked, str]:
    """Return the question, and the name of the model, that a button stands for."""
    number, _, rest = str(choice).partition("-")
    asked = None if visit is None else visit.asked.find(number)
    names = [] if asked is None else list(asked.answers)
    model = rest.partition("-")[0]
    if asked is None or not model.isdecimal() or int(model) >= len(names):
        raise InputError("this answer is no longer here; ask again")
    return asked, names[int(model)]


def _suggested(questions: tuple[str, ...]) -> str:
    if not questions:
        return ""
    buttons = "".join(
        f'<button type="button" class="suggestion" data-question="{html.escape(question)}">'
        f"{html.escape(question)}</button>"
        for question in questions
    )
    return f'<div class="suggestions" role="group" aria-label="Try">Try: {buttons}</div>'
