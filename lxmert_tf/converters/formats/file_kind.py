"""What a file is, by its first bytes, if it is not a checkpoint."""

import codecs
import pathlib

# What a message calls a file that begins with these bytes.
_MAGIC = {
    b"version https://git-lfs": "a Git LFS pointer; `git lfs pull` fetches the file itself",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it first",
}
_HTML = (b"<!doctype html", b"<html")
_HEAD = 1024


def foreign_kind(path) -> str | None:
    """Return what a file is, or None if it may be a pickle, a zip archive or something unknown.

    Args:
        path: File that can be read.

    Returns:
        A phrase for messages, such as "a text file".

    Example:
        >>> pathlib.Path("README.md").write_text("# LXMERT")
        8
        >>> foreign_kind("README.md")
        'a text file'
    """
    with pathlib.Path(path).open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    # The length of a header in JSON, and its first brace.
    if head[5:9] == b"\0\0\0{":
        return "a safetensors file"
    if head.lstrip().lower().startswith(_HTML):
        return "an HTML page, as a failed download leaves"
    return "a text file" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    # The oldest kind of pickle is text, too, and begins like this.
    if head.startswith(b"("):
        return False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    head = head.removeprefix(codecs.BOM_UTF8)
    # The last character may be cut.
    text = head.decode("utf-8", "ignore")
    return len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text)
