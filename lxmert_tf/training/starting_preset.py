"""What training starts from, if it does not start from scratch."""

from lxmert_tf.errors import InputError
from lxmert_tf.presets import PresetDescription, describe_preset


def starting_preset(preset, feature_size: int) -> PresetDescription:
    """Describes a preset that is to be trained on regions of `feature_size` features.

    Raises:
        InputError: it is none, it has no words, or its regions have another width.
    """
    source = describe_preset(preset)
    if source.vocabulary is None:
        raise InputError(f"{preset}: has no vocab.txt; import it with --vocabulary")
    if source.config.region_feature_size != feature_size:
        raise InputError(
            f"{preset}: its regions have {source.config.region_feature_size} features, "
            f"those of the records {feature_size}"
        )
    return source
