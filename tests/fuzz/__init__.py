"""Mutations of small valid files of each format, read by what reads such files from strangers."""
