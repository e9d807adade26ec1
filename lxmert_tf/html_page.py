"""HTML pages that need no other file, readable on a phone and in dark mode."""

import html

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5em auto; max-width: 60em; padding: 0 1em; overflow-wrap: anywhere }}
{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""  # noqa: E501


def html_page(title: str, body: str, style: str = "") -> str:
    """Return a page.

    Args:
        title: Its title and heading, as text.
        body: What follows the heading, as HTML.
        style: CSS beside that of the page.
    """
    return _PAGE.format(title=html.escape(title), body=body, style=style)
