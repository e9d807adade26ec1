"""Fixtures of the tests of storage."""

import pytest

from lxmert_tf import storage


@pytest.fixture
def url(request):
    """Return an empty folder in memory."""
    folder = f"memory://{request.node.originalname}"
    yield folder
    storage.remove(folder)
