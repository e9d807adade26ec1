"""Drawings of attention; the kinds are named as in the models' output `attentions`."""

WORDS, REGIONS = "words", "regions"
# Kind -> title, and what the rows (queries) and columns (keys) of its maps are.
KINDS = {
    "language": ("Language self-attention", WORDS, WORDS),
    "vision": ("Object-relationship attention", REGIONS, REGIONS),
    "language_to_vision": ("Cross-attention, words to regions", WORDS, REGIONS),
    "vision_to_language": ("Cross-attention, regions to words", REGIONS, WORDS),
}
