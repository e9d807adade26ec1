"""Extension of the API reference: renders `Example:` and `Call arguments:` of docstrings.

Griffe's Google style knows only `Examples:` with `>>>`. This extension turns plain code in
`Example:` into a code block, and `Call arguments:` of Keras models into a list of parameters.
"""

import re
import textwrap

import griffe

_EXAMPLE = re.compile(r"^Examples?:\n((?:[ ]+\S.*\n?|\n)+)", re.MULTILINE)
# A section whose entries all have the form `name: meaning`; continuations are indented further.
_CALL_ARGUMENTS = re.compile(
    r"^Call arguments:\n(?=(?:    [\w*, ]+:.*\n(?:     .*\n)*)+(?:\s*\Z|\n))", re.MULTILINE
)


def with_known_sections(text: str) -> str:
    """Return a docstring in which every section is one that griffe knows."""
    text = _CALL_ARGUMENTS.sub("Other Parameters: Call arguments:\n", text + "\n")
    return _EXAMPLE.sub(_fenced, text)


def _fenced(section: re.Match) -> str:
    code = textwrap.dedent(section[1]).strip("\n")
    if ">>>" not in code and "```" not in code:
        code = f"```python\n{code}\n```"
    return f"Examples:\n{textwrap.indent(code, '    ')}\n\n"


class DocsSections(griffe.Extension):
    """Rewrites the docstrings of a package after it was loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        self._rewrite(pkg)

    def _rewrite(self, item: griffe.Object) -> None:
        if item.docstring:
            item.docstring.value = with_known_sections(item.docstring.value)
        for member in item.members.values():
            if not member.is_alias:
                self._rewrite(member)
