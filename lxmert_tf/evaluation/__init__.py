"""Accuracy on records, and official scores and submission files of VQA v2, GQA, NLVR, NLVR2."""

TASKS = ("vqa", "gqa", "nlvr", "nlvr2")
