"""Reads the pickles of data files (PyTorch's checkpoints, arrays) without executing anything.

Python's unpickler calls whatever a file names. This one interprets the few opcodes that data is
made of (disassembled by the standard library's `pickletools`), and its only callables are those
that it is given. Everything else in a file is refused by name.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from lxmert_tf.errors import InputError

_MARK = object()


class DamagedPickle(InputError):
    """The bytes are no pickle, or one that was cut short."""


class PickleMachine:
    """A stack machine for one pickle after another.

    Args:
        callables: what a file may call, by "module name".
        names: what a file may name without calling it, by "module name".
        persistent: resolves a persistent id (a tuple).
        build: gives an object, the first argument, the state that the file has for it. Without
            it states are dropped: a state dict's `_metadata` (versions of modules) is attached
            so, and nothing needs it.
    """

    def __init__(
        self,
        callables: dict[str, Callable[..., Any]],
        names: dict[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        build: Callable[[Any, Any], None] | None = None,
    ):
        self._callables = callables
        self._names = names
        self._persistent = persistent
        self._build = build

    def load(self, file: BinaryIO, size: int) -> Any:
        """Reads one pickle; the file then stands behind it.

        Args:
            file: where the pickle starts.
            size: the file's length in bytes; what claims to be longer is not even tried.

        Raises:
            DamagedPickle: the pickle is damaged.
            InputError: it asks for something that is not allowed.
        """
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(_Bounded(file, size)):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except InputError:
            raise
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
        ) as error:
            # What a damaged pickle does to the disassembler and to the stack.
            raise DamagedPickle(f"damaged pickle ({error})") from error
        raise DamagedPickle("damaged pickle (it ends too early)")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name in _TUPLE_SIZES:
            size = _TUPLE_SIZES[name]
            items = tuple(stack[-size:])
            if len(items) < size:
                raise IndexError("stack is too short")
            del stack[-size:]
            stack.append(items)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(self._global(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._global(f"{module} {attribute}"))
        elif name == "BINPERSID" and self._persistent:
            stack.append(self._persistent(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            state = stack.pop()
            if self._build:
                self._build(stack[-1], state)
        elif name == "APPEND":
            value = stack.pop()
            _expect(stack[-1], list).append(value)
        elif name == "APPENDS":
            values = self._pop_to_mark()
            _expect(stack[-1], list).extend(values)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _expect(stack[-1], dict)[key] = value
        elif name == "SETITEMS":
            values = self._pop_to_mark()
            _expect(stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))
        else:
            raise InputError(f"refused: the pickle operation {name}, which data does not need")

    def _pop_to_mark(self) -> list[Any]:
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise IndexError("no mark on the stack")
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def _global(self, name: str) -> Any:
        if name in self._callables:
            return _Callable(name)
        if name in self._names:
            return self._names[name]
        raise InputError(f"refused: the file asks for {name.replace(' ', '.')}, which is no data")

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Callable):
            raise InputError(f"refused: the file calls {type(function).__name__}")
        return self._callables[function.name](*_expect(arguments, tuple))


class _Bounded:
    """A file in which a read of a length that a damaged pickle made up takes no memory."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._size = size
        self.tell = file.tell
        self.readline = file.readline

    def read(self, length: int) -> bytes:
        return self._file.read(min(length, self._size))


class _Callable:
    """A name on the stack that may be called; not the function, so that nothing else can be."""

    def __init__(self, name: str):
        self.name = name


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} is expected, found {type(value).__name__}")
    return value


_PUSH_ARGUMENT = {
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "UNICODE",
    "BINSTRING",
    "SHORT_BINSTRING",
    "STRING",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
    "BININT",
    "BININT1",
    "BININT2",
    "INT",
    "LONG",
    "LONG1",
    "LONG4",
    "BINFLOAT",
    "FLOAT",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
