"""A picture of the visitor: where it is chosen, and where it is shown afterwards."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from lxmert_tf.app.events import PRIVATE, USES_MODEL, event_value
from lxmert_tf.app.example_pictures import CHOOSE, Example, example_buttons
from lxmert_tf.app.messages import error_message, message
from lxmert_tf.app.uploads import TOO_LARGE, read_picture_file, uploaded_path
from lxmert_tf.errors import InputError

# Why `page.js` keeps a file back -> what the visitor reads.
_REFUSALS = {
    "size": TOO_LARGE,
    "shown": "a picture is shown already; press “Choose another picture” first",
}
# Runs in the page, which knows the panel by the name in place of NAME.
_REFUSE = """
document.addEventListener('picture-refused', ({detail}) => {
  if (detail.panel === 'NAME') trigger('select', {reason: detail.reason});
});
"""


@dataclasses.dataclass(frozen=True)
class GivenPicture:
    """A picture that a visitor has given.

    Args:
        file: The contents of its file.
        questions: Questions that suit it, if it is an example.
    """

    file: bytes
    questions: tuple[str, ...] = ()


class PicturePanel:
    """An input that gives way to a view of the picture, and comes back for another one.

    Args:
        label: Its name on the page.
        name: Prefix of the ids of its parts.
        examples: Pictures to try.
        note: Where the visitor reads what went wrong.

    Attributes:
        view: Where the picture is shown.
    """

    def __init__(self, label: str, name: str, examples: Sequence[Example], note: gr.HTML):
        self._examples = examples
        self._note = note
        self._input = gr.Image(
            type="filepath",
            label=label,
            elem_id=f"{name}-picture",
            elem_classes="picture-input",
            sources=["upload", "webcam", "clipboard"],
            buttons=[],
            height=280,
            placeholder="Drop or paste a picture here, or click to choose one",
        )
        self._buttons = gr.HTML(
            example_buttons(examples) if examples else "",
            js_on_load=CHOOSE,
            visible=bool(examples),
            elem_id=f"{name}-examples",
        )
        self.view = gr.HTML("", js_on_load=_REFUSE.replace("NAME", name), elem_id=f"{name}-view")
        self._again = gr.Button(
            "Choose another picture",
            visible=False,
            elem_id=f"{name}-again",
            elem_classes="another-picture",
            size="sm",
        )

    def on_picture(self, handle: Callable, inputs: list, outputs: list) -> None:
        """Call a function when a picture is given.

        Args:
            handle: Function of the `GivenPicture` and the inputs. It returns the view, a sentence,
                and the outputs; an `InputError` that it raises is shown in the page.
            inputs: Components whose values need no preprocessing.
            outputs: Components.
        """
        parts = [self._input, self._buttons, self._again]

        def show(given: Callable[[], GivenPicture | None], values) -> tuple:
            try:
                picture = given()
                if picture is None:
                    return (gr.skip(),) * (2 + len(outputs) + len(parts))
                view, sentence, *others = handle(picture, *values)
            except InputError as error:
                kept = (gr.skip(),) * len(outputs)
                emptied = (gr.update(value=None), gr.skip(), gr.skip())
                return gr.skip(), error_message(error), *kept, *emptied
            # A picture that was read need not be kept in the input.
            hidden = gr.update(value=None, visible=False)
            return (
                *(view, message(sentence), *others),
                *(hidden, gr.update(visible=False), gr.update(visible=True)),
            )

        def show_upload(payload: Any, *values):
            return show(lambda: self._uploaded(payload), values)

        def show_example(event: gr.EventData, *values):
            return show(lambda: self._chosen(event_value(event, "example")), values)

        everything = [self.view, self._note, *outputs, *parts]
        self._input.input(
            show_upload,
            [self._input, *inputs],
            everything,
            preprocess=False,
            # The buttons of the input say at once that they were chosen, without a picture. The one
            # that comes later must not be dropped because that is still being answered.
            trigger_mode="always_last",
            **USES_MODEL,
        )
        self._buttons.select(show_example, inputs, everything, preprocess=False, **USES_MODEL)
        self.view.select(_refused, None, self._note, **PRIVATE)

    def on_forget(self, handle: Callable, outputs: list) -> None:
        """Call a function when the visitor wants another picture.

        Args:
            handle: Function that returns the outputs.
            outputs: Components.
        """

        def forget():
            return (
                "",
                *handle(),
                gr.update(value=None, visible=True),
                gr.update(visible=bool(self._examples)),
                gr.update(visible=False),
            )

        everything = [self.view, *outputs, self._input, self._buttons, self._again]
        self._again.click(forget, None, everything, **PRIVATE)

    def _uploaded(self, payload: Any) -> GivenPicture | None:
        path = uploaded_path(payload)
        return None if path is None else GivenPicture(read_picture_file(path))

    def _chosen(self, number: Any) -> GivenPicture | None:
        if not isinstance(number, int) or not 0 <= number < len(self._examples):
            return None
        example = self._examples[number]
        return GivenPicture(read_picture_file(example.path), example.questions)


def _refused(event: gr.EventData):
    reason = _REFUSALS.get(str(event_value(event, "reason")))
    return gr.skip() if reason is None else error_message(InputError(reason))
