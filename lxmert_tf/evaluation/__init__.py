"""The official scores of VQA v2, GQA and NLVR2, and the files that their servers take."""

TASKS = ("vqa", "gqa", "nlvr2")
