"""Accuracy on records, the official scores of VQA v2, GQA and NLVR2, and their submission files."""

TASKS = ("vqa", "gqa", "nlvr2")
