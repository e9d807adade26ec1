"""JSON that Python's parser cannot take is refused in one line."""

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("9" * 5000, "not valid JSON"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ("NaN", "NaN is not a JSON number"),
    ],
    ids=["lists", "closed lists", "objects", "number", "surrogate", "key", "NaN"],
)
def test_what_cannot_be_parsed_is_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_json(path)
    assert message in str(raised.value) and str(raised.value).isprintable()
