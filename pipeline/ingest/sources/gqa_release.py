"""GQA as the LXMERT release has it."""

from pipeline.ingest.sources.vqa_release import VqaRelease


class GqaRelease(VqaRelease):
    """The layout of the release's VQA files; the ids are GQA's. (data/gqa/*.json)"""

    name = "gqa_release"
    source = "gqa"
