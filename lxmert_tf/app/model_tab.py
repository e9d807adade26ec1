"""What the parts of the page have in common that use a model."""

import abc

import gradio as gr

from lxmert_tf.app.example_pictures import Example
from lxmert_tf.app.model_choices import ModelChoices
from lxmert_tf.app.page_model import ATTENTION_NEEDS_PRESET


class ModelTab(abc.ABC):
    """A part of the page for the models of one task.

    Args:
        models: The models to choose from.
        examples: Pictures to try.
    """

    def __init__(self, models: ModelChoices, examples: list[Example]):
        self._models = models
        self._examples = examples

    @abc.abstractmethod
    def build(self) -> None:
        """Add the components and their events to the page that is being built."""

    def _model_choice(self, name: str) -> gr.Dropdown:
        """Add the choice of a model, which is hidden if there is only one.

        Args:
            name: Prefix of its id.
        """
        names = self._models.names
        return gr.Dropdown(
            names,
            value=names[0],
            label="Model",
            visible=len(names) > 1,
            elem_id=f"{name}-model",
        )

    def _how_to_see_attention(self, *names: str) -> str:
        """Return a sentence about how to see where models looked.

        Args:
            *names: Names of the models that have just answered.
        """
        showing = [name for name in names if self._models[name].shows_attention]
        if not showing:
            return f"{ATTENTION_NEEDS_PRESET}."
        by = f" of {showing[0]}" if len(showing) < len(names) else ""
        return f"Choose an answer{by} to see where the model looked."
