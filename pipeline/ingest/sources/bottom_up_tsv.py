"""The region files of bottom-up attention (Anderson et al. 2018): no labels, any number of regions.

Format: peteanderson80/bottom-up-attention, tools/generate_tsv.py.
"""

from lxmert_tf.data.scene import SceneImage
from pipeline.ingest.sources.region_checks import checked_image
from pipeline.ingest.sources.region_tsv import RegionTsv
from pipeline.ingest.sources.tsv_row import TsvRow


class BottomUpTsv(RegionTsv):
    """Six columns; width before height, arrays float32."""

    name = "bottom_up_tsv"
    columns = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")

    def image(self, row: TsvRow) -> SceneImage:
        """Makes an image without labels."""
        count = row.region_count("num_boxes")
        return checked_image(
            row.text("image_id"),
            row.number("image_h"),
            row.number("image_w"),
            boxes_in_pixels=row.vectors("boxes", count, 4),
            features=row.vectors("features", count),
        )
