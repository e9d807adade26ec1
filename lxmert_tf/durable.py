"""Files that survive a loss of power under their final names.

A file system may write a new name to the disk before the data that it names. So the data is written
first, then the file is renamed, then the folder that holds the new name is written.
"""

import errno
import os
import pathlib


def rename_durably(source: pathlib.Path, target: pathlib.Path) -> None:
    """Write a file, or a directory with all that is in it, to the disk; then rename it.

    Args:
        source: The file or directory.
        target: Its new name, in a folder of the same file system. A file there is replaced; a
            directory there must be empty.

    Raises:
        OSError: It cannot be written or renamed.
    """
    if source.is_dir() and not source.is_symlink():
        for folder, _, names in os.walk(source):
            for name in names:
                _write_to_disk(os.path.join(folder, name))
            _write_to_disk(folder)
    else:
        _write_to_disk(source)
    source.replace(target)
    _write_to_disk(target.parent)


def _write_to_disk(path) -> None:
    # A link, and what is no file, has no data of its own.
    if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path)):
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Some network file systems know no such thing for folders.
        if not os.path.isdir(path) or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)
