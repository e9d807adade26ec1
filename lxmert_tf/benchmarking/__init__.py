"""Measurements of how fast models answer and train, for `lxmert benchmark`."""
