"""Extraction of regions: pictures into region files."""
