"""Subcommands of `lxmert` that the pipeline package adds."""
