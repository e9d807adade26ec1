"""A picture of a visitor, as each model has read it, and its views."""

import dataclasses
import hashlib
import html

from lxmert_tf.app.model_choices import ModelChoices
from lxmert_tf.app.page_model import Picture
from lxmert_tf.visualization.explorer import explorer_element

# Seconds after which the page forgets the pictures of a visitor who does nothing.
FORGET_AFTER = 3600


@dataclasses.dataclass(frozen=True)
class VisitorPicture:
    """A picture that is read once by each model that is asked about it.

    Args:
        file: The contents of its file.
        by_model: The picture as each model has read it, by name of the model.
    """

    file: bytes
    by_model: dict[str, Picture] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.file).digest()

    def read_by(self, models: ModelChoices, name: str) -> "VisitorPicture":
        """Return the picture after a model has read it.

        Args:
            models: The models.
            name: The name of the model.

        Raises:
            InputError: The model refuses the picture, or cannot be loaded.
        """
        if name in self.by_model:
            return self
        return VisitorPicture(self.file, {**self.by_model, name: models[name].read(self.file)})

    def regions_view(self, name: str, alt: str) -> str:
        """Return the picture with its regions as HTML.

        Args:
            name: The model that has read it.
            alt: Description of the picture for people who do not see it.
        """
        picture = self.by_model[name]
        return explorer_element(picture.pixels, picture.regions, picture.names, alt=alt)

    def attention_view(self, models: ModelChoices, name: str, sentence: str, alt: str) -> str:
        """Return the picture with a model's attention as HTML.

        Args:
            models: The models.
            name: The name of the model.
            sentence: What the model reads about the picture.
            alt: Description of the picture for people who do not see it.

        Raises:
            InputError: The model cannot read the picture, or does not return its attention.
        """
        picture = self.read_by(models, name).by_model[name]
        maps = models[name].attention(picture, sentence)
        by = f" by {name}" if len(models.names) > 1 else ""
        heading = html.escape(f"Attention{by}: “{sentence}”")
        element = explorer_element(picture.pixels, picture.regions, picture.names, maps, alt)
        return f'<h3 class="why">{heading}</h3>{element}'

    def count_regions(self, name: str) -> str:
        """Return a sentence about how many regions a model sees."""
        regions = self.by_model[name].regions
        if regions is None:
            return "The model has read the picture; it does not show its regions."
        return f"The model sees {len(regions)} region{'s' if len(regions) != 1 else ''}."
