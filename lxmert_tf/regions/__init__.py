"""From a picture to region features and boxes.

A `RegionExtractor` computes the `Regions` of an RGB image. Those that exist, and for whom each is,
are in docs/regions.md. A model needs the extractor that made its training data, so the extractor's
config is stored with the records, the presets, and the SavedModels.

To add an extractor, write a subclass with three attributes and two methods:

Example:
    ```python
    import numpy as np
    from lxmert_tf import RegionExtractor, Regions
    from lxmert_tf.regions.registry import EXTRACTORS

    class Average(RegionExtractor):
        \"\"\"One region: the whole picture and its mean color.\"\"\"

        name = "average"
        feature_size = 3
        max_regions = 1

        def __init__(self, scale: float = 1.0):
            self.scale = scale

        def extract(self, image):
            features = self.scale * image.mean(axis=(0, 1), keepdims=True)[0] / 255
            return Regions(features.astype(np.float32), np.float32([[0, 0, 1, 1]]))

        def get_config(self):
            return {"name": self.name, "scale": self.scale}

    EXTRACTORS["average"] = Average
    ```

- Raise `InputError` (`lxmert_tf/errors.py`) in the constructor for arguments that are wrong.
- The constructor is also called just to check a config or to read its sizes, so load a network
  at the first `extract`, under a lock: threads share an extractor.
- The same image must give the same regions in every process.
- Give `object_names` and `attribute_names` if the regions have ids; attention pictures show them.
- Override `extract_batch` if images are faster together.
- `EXTRACTORS` in a program of your own is enough for that program. For the commands and the
  workers of an ingestion the entry must be in `lxmert_tf/regions/registry.py`, as
  `"module:class"`.
"""
