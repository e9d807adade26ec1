"""The shard of an element, and the order of the scenes in one."""

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.beam.spill import SpilledElement
from pipeline.ingest.elements import JoinedScene


def hash_shard(key: str, shards: int) -> int:
    """Return the shard of a key, from 0 to `shards` - 1."""
    # Other bits than `hash_percent` uses, because a split by percent must still fill all shards.
    return int.from_bytes(_digest(key)[8:16], "big") % shards


def random_order(joined: JoinedScene) -> tuple[bytes, Sequence[str], str]:
    """Return a key by which scenes are in the same order every time, in no order of their names."""
    # Other bits than those that selected the shard.
    digest = _digest(_key(joined))[16:]
    return digest, joined.image_ids, joined.sentences[0].id


def place_scene(joined: JoinedScene, shards: int) -> Iterator[SpilledElement]:
    """Yield a scene in the partition of its shard, with the first bits of `random_order`.

    Args:
        joined: The scene.
        shards: Number of record files.
    """
    digest, *_ = random_order(joined)
    number = int.from_bytes(digest[:8], "big")
    shard = hash_shard(_key(joined), shards)
    yield SpilledElement(shard, number, joined, 1 + len(joined.sentences))


def _key(joined: JoinedScene) -> str:
    return "\n".join(joined.image_ids)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
