"""Records out of what was joined: with the regions, in either layout."""

from collections.abc import Iterator

from lxmert_tf.data.scene import Scene
from lxmert_tf.data.schema import decode_scene, encode_scene, replace_sentences
from pipeline.ingest.region_store import RegionFiles
from pipeline.ingest.scenes import JoinedScene


def records_of(joined: JoinedScene, store: RegionFiles, layout: str) -> Iterator[bytes]:
    """The serialized scene, or one for each of its sentences.

    Args:
        joined: with the places of its regions.
        store: reads them.
        layout: "grouped" or "flat".
    """
    images = [store.read(place) for place in joined.places]
    if len(images) == 1:
        [serialized] = images
    else:
        sides = tuple(image for one in images for image in decode_scene(one).images)
        serialized = encode_scene(Scene(sides, ()))
    groups = [joined.sentences] if layout == "grouped" else [(s,) for s in joined.sentences]
    for sentences in groups:
        yield replace_sentences(serialized, sentences)
