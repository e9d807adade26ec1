"""Reader of pickles that hold data (PyTorch checkpoints, arrays), which executes nothing.

It interprets the few opcodes that data consists of and calls only the functions that it is given,
as `torch.load(weights_only=True)` does. Restricting `pickle.Unpickler.find_class` is not enough:
its BUILD opcode changes the attributes of any object, and a memo index of 2**25 in a file of 13
bytes makes it allocate half a gigabyte.
"""

import collections
import pickletools
from collections.abc import Callable
from typing import IO, Any

from lxmert_tf.errors import InputError

_MARK = object()
# One of 500,000 image ids and rows has 1.5 million. Each may make an object, of a byte of the file.
_MOST_OPCODES = 2_000_000
# Multiples of 2**61 - 1 have the same hash, and a dict of many of them takes hours.
_LARGEST_KEY = 1 << 63
_PUSH_ARGUMENT = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "STRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
}
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}


class DamagedPickle(InputError):
    """Bytes that are not a pickle, or a pickle that is cut short."""


class SafeUnpickler:
    """Unpickler that refuses everything that it is not told to allow.

    Args:
        callables: Functions that a pickle may call, by "module name".
        constants: Values for the names that a pickle may mention without calling them, by "module
            name".
        persistent: Function that returns the object for a persistent ID, a tuple.
        build: Function that gives an object, its first argument, the state stored for it. If None,
            states are ignored: PyTorch stores only the versions of modules this way.

    Example:
        >>> import io, pickle
        >>> SafeUnpickler({}, {}).load(io.BytesIO(pickle.dumps([1, "a"])), size=100)
        [1, 'a']
    """

    def __init__(
        self,
        callables: dict[str, Callable[..., Any]],
        constants: dict[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        build: Callable[[Any, Any], None] | None = None,
    ):
        self._callables = callables
        self._constants = constants
        self._persistent = persistent
        self._build = build

    def load(self, file: IO[bytes], size: int) -> Any:
        """Read one pickle and leave the file positioned after it.

        Args:
            file: File that is positioned at the start of the pickle.
            size: Length of the file in bytes; longer strings are not even tried.

        Raises:
            DamagedPickle: The pickle is damaged.
            InputError: The pickle asks for something that is not allowed.
        """
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        try:
            bounded: Any = _BoundedFile(file, size)
            opcodes = pickletools.genops(bounded)
            for count, (opcode, argument, _) in enumerate(opcodes, start=1):
                if count > _MOST_OPCODES:
                    raise InputError(f"refused: a pickle of more than {_MOST_OPCODES:,} opcodes")
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except InputError:
            raise
        # What a damaged pickle makes of the disassembler, the stack, and NumPy.
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise DamagedPickle(f"damaged pickle ({error})") from error
        raise DamagedPickle("damaged pickle (it ends too early)")

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in _PUSH_ARGUMENT:
            stack.append(argument)
            return
        if opcode in _PUSH_NEW:
            stack.append(_PUSH_NEW[opcode]())
            return
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(reversed(items)))
            case "DICT":
                # Of protocol 0, Python 2's default.
                stack.append(_with_items({}, self._pop_to_mark()))
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                if argument >= _LARGEST_KEY:
                    raise ValueError("a memo index of more than 64 bits")
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(self._global(argument))
            case "STACK_GLOBAL":
                name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
                stack.append(self._global(f"{module} {name}"))
            case "BINPERSID" if self._persistent:
                stack.append(self._persistent(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._call(function, arguments))
            case "BUILD":
                state = stack.pop()
                if self._build:
                    self._build(stack[-1], state)
            case "APPEND":
                value = stack.pop()
                _expect(stack[-1], list).append(value)
            case "APPENDS":
                values = self._pop_to_mark()
                _expect(stack[-1], list).extend(values)
            case "SETITEM":
                item = [stack.pop(), stack.pop()]
                _with_items(_expect(stack[-1], dict), item[::-1])
            case "SETITEMS":
                values = self._pop_to_mark()
                _with_items(_expect(stack[-1], dict), values)
            case _:
                raise InputError(f"refused: pickle opcode {opcode}, which data does not need")

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _global(self, name: str) -> Any:
        if name in self._callables:
            return _Callable(name)
        if name in self._constants:
            return self._constants[name]
        shown = name.replace(" ", ".") if name.isprintable() else repr(name)
        raise InputError(f"refused: the file asks for {shown:.200}, which is not data")

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Callable):
            raise InputError(f"refused: the file calls a {type(function).__name__}")
        return self._callables[function.name](*_expect(arguments, tuple))


class _BoundedFile:
    """File that never tries to read more than `size` bytes, whatever a damaged pickle claims."""

    def __init__(self, file: IO[bytes], size: int):
        self._file = file
        self._size = size
        self.tell = file.tell
        self.readline = file.readline

    def read(self, length: int) -> bytes:
        return self._file.read(min(length, self._size))


class _Callable:
    """Name of a function on the stack, so that nothing else on the stack can be called."""

    def __init__(self, name: str):
        self.name = name


def ordered_dict(*items: Any) -> collections.OrderedDict:
    """Return what the call of collections.OrderedDict in a pickle gives.

    Args:
        *items: Nothing, or a list of [key, value] as Python 2 writes it.

    Raises:
        InputError: A key is not that of data.
        ValueError: The items are no such list.
    """
    pairs = _expect(items[0], list) if items else []
    if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError("an item is no key and value")
    return _with_items(collections.OrderedDict(), [part for pair in pairs for part in pair])


def _with_items(target: dict, values: list[Any]) -> Any:
    """Add items to a dict, given as keys and values in turn, after a check of the keys.

    The hash of a tuple in a tuple in a tuple, and so on, overflows the stack and ends the process.
    """
    for key, value in zip(values[::2], values[1::2], strict=True):
        is_small = isinstance(key, int) and abs(key) < _LARGEST_KEY
        if not is_small and not isinstance(key, str | bytes):
            raise InputError(f"refused: a {type(key).__name__} as key of a dict")
        target[key] = value
    return target


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value
