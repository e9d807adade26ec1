"""The Beam transform that reads regions and sentences and joins them into scenes.

An image takes this path. `ReadRegions` stores its regions and makes a `RegionRef`. `JoinByImage`
brings the reference together with the sentences about the image. `MakeScenes`, or `MakePairs` for
sentences about two images, makes a `JoinedScene`. `scene_records` reads the regions back and
serializes one or more records. Between the steps, references and sentences are in files
(`pipeline.beam.spill`), and Beam groups references to these.
"""

from typing import NamedTuple

import apache_beam as beam

from lxmert_tf.data.answer_table import read_answer_table
from pipeline.beam.spill import GroupSpilled, only_spilled
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.elements import AnnotatedSentence, JoinedScene, ReadCount, Reject, only
from pipeline.ingest.image_names import IdRegex
from pipeline.ingest.inputs import Inputs
from pipeline.ingest.parsers.text_rows import PieceLines
from pipeline.ingest.transforms.make_pairs import MakePairs
from pipeline.ingest.transforms.make_scenes import MakeScenes
from pipeline.ingest.transforms.read_regions import ReadRegions
from pipeline.ingest.transforms.read_sentences import (
    CountAnswers,
    ReadSentences,
    RejectRepeated,
)


class Scenes(NamedTuple):
    """The collections that `ReadScenes` returns.

    Args:
        joined: Of `Spilled`: each `JoinedScene` in the partition of its shard.
        rejects: Of `Reject`.
        counts: Of `ReadCount`.
        lines: Of `PieceLines`.
        answers: Of (answer, how often it is given), the answer table; None if it is not built from
            the data.
    """

    joined: beam.PCollection
    rejects: beam.PCollection
    counts: beam.PCollection
    lines: beam.PCollection
    answers: beam.PCollection | None


class ReadScenes(beam.PTransform):
    """Read all inputs of a split and join them.

    Args:
        config: The ingestion; `records` is the split.
        inputs: The files of the split.
        work_folder: A folder that all workers can read, for regions and progress notes.

    Raises:
        InputError: The answer table cannot be read.
    """

    def __init__(self, config: IngestConfig, inputs: Inputs, work_folder):
        super().__init__()
        self._config = config
        self._inputs = inputs
        self._folder = str(work_folder)
        self._table = frozenset(read_answer_table(config.answers)) if config.answers else None

    def expand(self, pipeline):
        """Return the `Scenes` of a pipeline."""
        config, inputs = self._config, self._inputs
        percent = config.records.percent
        id_regex = IdRegex(config.image_id_regex)
        regions = pipeline | ReadRegions(
            inputs.regions, percent, config.feature_dtype, self._folder, id_regex
        )
        read = pipeline | ReadSentences(
            inputs.sentences, percent, id_regex, self._folder, inputs.left_out
        )
        by_id = read | "ById" >> GroupSpilled(AnnotatedSentence)
        table, answers = self._table, None
        if config.min_answer_count is not None:
            answers = by_id | CountAnswers(
                config.normalize_answers, config.min_answer_count, self._folder
            )
            table = beam.pvalue.AsDict(answers)
        unique = by_id | RejectRepeated(table, config.normalize_answers, self._folder)
        make = MakeScenes if inputs.images_per_scene == 1 else MakePairs
        made = (regions, unique) | make(inputs.complete, config.shards, self._folder)

        rejects = [
            collection | f"{name}Rejects" >> only(Reject)
            for name, collection in {
                "Region": regions,
                "Sentence": read,
                "Repeated": unique,
                "Scene": made,
            }.items()
        ]
        counts = [
            regions | "RegionCounts" >> only(ReadCount),
            read | "SentenceCounts" >> only(ReadCount),
            made | "NameCounts" >> only(ReadCount),
        ]
        return Scenes(
            joined=made | "JoinedScenes" >> only_spilled(JoinedScene),
            rejects=rejects | "Rejects" >> beam.Flatten(),
            counts=counts | "Counts" >> beam.Flatten(),
            lines=regions | "Lines" >> only(PieceLines),
            answers=answers,
        )
