"""Local files by path or glob pattern."""

import glob
import os


def match_local(pattern: str) -> list[str]:
    """Return the local files and directories that match a pattern, sorted.

    What exists under the pattern's own name is not a pattern: `photo[0].png` is that file, and in
    `photos [v2]/*.png` only the last part is a pattern. `*`, `?` and `[abc]` leave hidden names
    out, and `**` stands for any number of directories.

    Args:
        pattern: A path or pattern.
    """
    if os.path.lexists(pattern):
        return [pattern]
    return sorted(glob.glob(_escape_existing(pattern), recursive=True))


def _escape_existing(pattern: str) -> str:
    """Escape the leading parts of a pattern that exist under their own names."""
    parts = pattern.split("/")
    for count in range(len(parts) - 1, 0, -1):
        start = "/".join(parts[:count])
        if start and os.path.lexists(start):
            return "/".join((glob.escape(start), *parts[count:]))
    return pattern
