"""The models that visitors choose from; each is loaded when it is first used."""

import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence

from lxmert_tf.app.page_model import PageModel, Task
from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name
from lxmert_tf.serving.layout import numbered_versions

Load = Callable[[], PageModel]


class ModelChoices:
    """Models by the names that visitors see.

    The first one is loaded at once, so that a wrong path is reported at the start. All are expected
    to do the same.

    Args:
        loaders: For each name the function that loads the model; at least one.

    Attributes:
        names: The names, the default first.
        task: What the models do.

    Raises:
        InputError: The first model cannot be loaded.
    """

    def __init__(self, loaders: dict[str, Load]):
        self._loaders = loaders
        self._loaded: dict[str, PageModel] = {}
        self._lock = threading.Lock()
        self.names = list(loaders)
        self.task: Task | None = None
        self.task = self[self.names[0]].task

    def __getitem__(self, name: str) -> PageModel:
        """Return a model, which is loaded if it was not yet.

        Raises:
            InputError: There is none of that name, it cannot be loaded, or it does something else
                than the others.
        """
        if name not in self._loaders:
            raise InputError(f"no model is called {name!r}; choose another one")
        # One at a time: two visitors would else load the same.
        with self._lock:
            if name not in self._loaded:
                model = self._loaders[name]()
                if self.task not in (None, model.task):
                    raise InputError(f"{name}: {model.task.value}; choose another model")
                self._loaded[name] = model
            return self._loaded[name]


def choices_in(directories: Sequence[str], load: Callable[[str], PageModel]) -> dict[str, Load]:
    """Return a loader for each model, and for each version in a folder of versions.

    Args:
        directories: As given on the command line.
        load: Loads the model in a directory.

    Raises:
        InputError: A directory is given twice.
    """
    loaders: dict[str, Load] = {}
    for directory in directories:
        for name, path in _models_in(directory, shown=len(directories) > 1):
            if name in loaders:
                raise InputError(f"--model {directory} is given twice")
            loaders[name] = _loader(load, path)
    return loaders


def _loader(load: Callable[[str], PageModel], path: str) -> Load:
    return lambda: load(path)


def _models_in(directory: str, shown: bool) -> Iterator[tuple[str, str]]:
    folder = pathlib.Path(directory)
    versions = {}
    if not is_hub_name(directory) and folder.is_dir():
        versions = numbered_versions(folder)
    if not versions:
        yield directory, directory
    for number in sorted(versions, reverse=True):
        prefix = f"{directory}, " if shown else ""
        yield f"{prefix}version {number}", str(versions[number])
