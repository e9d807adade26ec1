"""Names of regions for people."""

from lxmert_tf.regions.extractor import RegionExtractor, Regions


def region_names(extractor: RegionExtractor, regions: Regions) -> list[str]:
    """Return the name of each region, such as "blue rectangle".

    Args:
        extractor: The extractor of the regions.
        regions: The regions.

    Returns:
        A name per region; "" if the extractor has none for it.
    """
    attributes = _names(extractor.attribute_names, regions, "attribute")
    objects = _names(extractor.object_names, regions, "object")
    return [" ".join(filter(None, pair)) for pair in zip(attributes, objects)]


def _names(names: tuple[str, ...], regions: Regions, kind: str) -> list[str]:
    ids = getattr(regions, f"{kind}_ids")
    if ids is None or not names:
        return [""] * len(regions)
    known = getattr(regions, f"{kind}_confidences") > 0
    return [names[i] if is_known else "" for i, is_known in zip(ids, known)]
