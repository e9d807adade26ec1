"""The models that visitors choose from; each is loaded when it is first used."""

import functools
import os
import pathlib
import threading
from collections.abc import Callable, Sequence

from lxmert_tf.app.page_model import PageModel, Task
from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name
from lxmert_tf.serving.layout import numbered_versions


class ModelChoices:
    """Models of one task, by the names that visitors see. Use `choices_by_task`.

    Args:
        task: What the models do.

    Attributes:
        task: As given.
        names: The names, the default first.
    """

    def __init__(self, task: Task):
        self.task = task
        self.names: list[str] = []
        self._loaders: dict[str, Callable[[], PageModel]] = {}
        self._loaded: dict[str, PageModel] = {}
        self._lock = threading.Lock()

    def add(self, name: str, model: PageModel | Callable[[], PageModel]) -> None:
        """Add a model, or the function that loads it when it is first used.

        Raises:
            InputError: There is one of that name already.
        """
        if name in self.names:
            raise InputError(f"the model {name} is given twice")
        self.names.append(name)
        if isinstance(model, PageModel):
            self._loaded[name] = model
        else:
            self._loaders[name] = model

    def __getitem__(self, name: str) -> PageModel:
        """Return a model, loaded at its first use.

        Raises:
            InputError: There is none of that name, it cannot be loaded, or it does something else
                than the others.
        """
        if name not in self.names:
            raise InputError(f"no model is called {name!r}; choose another one")
        # One at a time, or two visitors would load the same model twice.
        with self._lock:
            if name not in self._loaded:
                model = self._loaders[name]()
                if model.task is not self.task:
                    raise InputError(f"{name} {model.task.value}; choose another model")
                self._loaded[name] = model
            return self._loaded[name]


def choices_by_task(
    directories: Sequence[str], load: Callable[[str], PageModel]
) -> dict[Task, ModelChoices]:
    """Return the models in directories, and the versions in folders of versions.

    The newest version is loaded at once, so that a wrong path is reported at the start.

    Args:
        directories: As given on the command line.
        load: Loads the model in a directory.

    Returns:
        The models of each task.

    Raises:
        InputError: A model cannot be loaded, or is given twice.
    """
    choices: dict[Task, ModelChoices] = {}
    for directory, shown in zip(directories, _names(directories)):
        (name, path), *others = _models_in(directory, shown)
        model = load(path)
        models = choices.setdefault(model.task, ModelChoices(model.task))
        models.add(name, model)
        for name, path in others:
            models.add(name, functools.partial(load, path))
    return choices


def choices_on_server(
    names: Sequence[str], connect: Callable[[str], PageModel]
) -> dict[Task, ModelChoices]:
    """Return the models of a server.

    Args:
        names: Their names on the server.
        connect: Connects to the model of a name.

    Returns:
        The models of each task.

    Raises:
        InputError: As from `connect`, or a model is given twice.
    """
    choices: dict[Task, ModelChoices] = {}
    for name in names:
        model = connect(name)
        choices.setdefault(model.task, ModelChoices(model.task)).add(name, model)
    return choices


def _names(directories: Sequence[str]) -> list[str]:
    """Return what visitors see: not where a folder is, unless only that tells it from another."""
    last = [os.path.basename(os.path.abspath(directory)) for directory in directories]
    return last if len(set(last)) == len(last) else list(directories)


def _models_in(directory: str, shown: str) -> list[tuple[str, str]]:
    """Return the names and paths of the models that a directory stands for, the newest first."""
    folder = pathlib.Path(directory)
    versions = {}
    if not is_hub_name(directory) and folder.is_dir():
        versions = numbered_versions(folder)
    if not versions:
        return [(shown, directory)]
    numbers = sorted(versions, reverse=True)
    return [(f"{shown}, version {number}", str(versions[number])) for number in numbers]
