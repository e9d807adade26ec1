"""The region files of the LXMERT release: 36 regions per image, with object and attribute labels.

Format: airsplay/lxmert, src/utils.py (`load_obj_tsv`) and its README.
"""

from lxmert_tf.data.scene import SceneImage
from pipeline.ingest.sources.region_checks import checked_image
from pipeline.ingest.sources.region_tsv import RegionTsv
from pipeline.ingest.sources.tsv_row import TsvRow


class LxmertTsv(RegionTsv):
    """Ten columns; ids int64, all else float32."""

    name = "lxmert_tsv"
    columns = (
        "img_id",
        "img_h",
        "img_w",
        "objects_id",
        "objects_conf",
        "attrs_id",
        "attrs_conf",
        "num_boxes",
        "boxes",
        "features",
    )

    def image(self, row: TsvRow) -> SceneImage:
        """Makes an image with labels."""
        count = row.region_count("num_boxes")
        return checked_image(
            row.text("img_id"),
            row.number("img_h"),
            row.number("img_w"),
            boxes_in_pixels=row.vectors("boxes", count, 4),
            features=row.vectors("features", count),
            object_ids=row.integers("objects_id", count),
            object_confidences=row.floats("objects_conf", count),
            attribute_ids=row.integers("attrs_id", count),
            attribute_confidences=row.floats("attrs_conf", count),
        )
