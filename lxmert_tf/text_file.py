"""Text files as people save them: UTF-8 or UTF-16, with any line ends.

UTF-8 may start with a byte order mark, UTF-16 must. A line ends with LF, CR LF, CR, or CR CR LF,
which Windows programs make of CR LF when they write it as text once more. Our own files are UTF-8
with LF and without a mark.
"""

import codecs
import re
from io import BufferedIOBase

from lxmert_tf.atomic_write import atomic_file
from lxmert_tf.errors import InputError
from lxmert_tf.storage import read_bytes

_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_OTHER_LINE_END = re.compile("\r\r\n|\r\n|\r")
UNMARKED_UTF16 = "looks like UTF-16 without a byte order mark; save the file as UTF-8"
_UTF32 = "UTF-32 text; save the file as UTF-8"
# First bytes of files that are not text, whatever their names say.
_FOREIGN = {
    codecs.BOM_UTF32_LE: _UTF32,
    codecs.BOM_UTF32_BE: _UTF32,
    b"\x1f\x8b": "compressed with gzip; decompress it, or let its name end with .gz",
    b"PK\x03\x04": "a zip archive; unpack it, or let its name end with .zip",
    b"BZh91AY&SY": "compressed with bzip2; decompress it",
    b"\xfd7zXZ\0": "compressed with xz; decompress it",
    b"(\xb5/\xfd": "compressed with zstd; decompress it",
}
# So much of a file tells whether it is UTF-16.
_SAMPLE_BYTES = 1000
# A byte that is in no valid UTF-8.
_INVALID = b"\xff"


def detect_encoding(start: bytes) -> tuple[str, int]:
    """Return the encoding of a text, and the length of its byte order mark.

    Args:
        start: The first bytes of the text, at least three if it has so many.
    """
    for mark, encoding in _ENCODINGS.items():
        if start.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


def why_not_text(start: bytes) -> str:
    """Return why a file is not text that can be read, and what to do; empty if nothing tells so.

    Args:
        start: The first bytes of the file.
    """
    for mark, problem in _FOREIGN.items():
        if start.startswith(mark):
            return problem
    return UNMARKED_UTF16 if is_unmarked_utf16(start) else ""


def is_unmarked_utf16(start: bytes) -> bool:
    """Return whether a text without a byte order mark is UTF-16.

    Args:
        start: The first bytes of the text, which has mostly characters of ASCII there.
    """
    sample = start[:_SAMPLE_BYTES]
    is_marked = detect_encoding(sample) != ("utf-8", 0)
    zeros = sorted((sample[0::2].count(0), sample[1::2].count(0)))
    # UTF-32 has them among both, and binary files too.
    return not is_marked and 4 * zeros[1] > len(sample) and zeros[0] * 10 < zeros[1]


def read_text(path) -> str:
    """Return the text of a file, in which all lines end with LF.

    Args:
        path: A path or URL.

    Raises:
        InputError: The file is missing, a directory, or not text.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if problem := why_not_text(data):
        raise InputError(f"{path}: {problem}")
    encoding, mark = detect_encoding(data)
    name = "UTF-8" if encoding == "utf-8" else "UTF-16"
    try:
        text = data[mark:].decode(encoding)
    except UnicodeDecodeError as error:
        position = mark + error.start
        line = _count_lines(data[mark:position].decode(encoding))
        raise InputError(
            f"{path} line {line}: not {name} text (byte {position}); save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = _count_lines(text[: text.index("\0")])
        raise InputError(
            f"{path} line {line}: not {name} text (a NUL character); save the file as UTF-8"
        )
    return _with_line_feeds(text)


def read_lines(path) -> list[str]:
    """Return the lines of a file, without line ends.

    Raises:
        InputError: The file is missing, a directory, or not text.
    """
    # Not splitlines: BERT's vocabulary has pieces that Unicode counts as line separators.
    return read_text(path).removesuffix("\n").split("\n")


def write_text(path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all.

    Args:
        path: The file; an older one is replaced.
        text: Its content.

    Raises:
        InputError: The parent directory is missing, or the file cannot be written.
    """
    try:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


class Utf8Stream:
    """A stream of text in any of the encodings, as UTF-8.

    What is invalid in the stream stays invalid in UTF-8, so that the parser finds it where it is.
    UTF-8 passes unchanged, with its byte order mark.

    Args:
        stream: The stream, at its start.
    """

    def __init__(self, stream: BufferedIOBase):
        self._stream = stream
        self._started = False
        self._decoder: codecs.IncrementalDecoder | None = None

    def read1(self, size: int) -> bytes:
        """Return about `size` bytes, fewer if they are not there yet; none at the end."""
        if self._decoder is not None:
            return self._transcode(self._stream.read1(size), size)
        block = self._stream.read1(size)
        if self._started:
            return block
        while len(block) < 3 and (more := self._stream.read1(size)):
            block += more
        self._started = True
        encoding, mark = detect_encoding(block)
        if encoding == "utf-8":
            return block
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        return self._transcode(block[mark:], size)

    def _transcode(self, block: bytes, size: int) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        while block:
            text = decoder.decode(block)
            if text:
                # Half of a surrogate pair is invalid in UTF-8.
                return text.encode("utf-8", "surrogatepass")
            block = self._stream.read1(size)
        pending, _ = decoder.getstate()
        decoder.reset()
        return _INVALID if pending else b""


def _with_line_feeds(text: str) -> str:
    return _OTHER_LINE_END.sub("\n", text) if "\r" in text else text


def _count_lines(before: str) -> int:
    """Return the number of the line in which a text ends."""
    return _with_line_feeds(before).count("\n") + 1
