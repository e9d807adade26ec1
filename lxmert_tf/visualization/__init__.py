"""The kinds of attention, as the models' `attentions` name them."""

WORDS, REGIONS = "words", "regions"
# Kind -> its title, who looks (the rows of a map) and what is looked at (the columns).
KINDS = {
    "language": ("Language self-attention", WORDS, WORDS),
    "vision": ("Object-relationship attention", REGIONS, REGIONS),
    "language_to_vision": ("Cross-attention, words to regions", WORDS, REGIONS),
    "vision_to_language": ("Cross-attention, regions to words", REGIONS, WORDS),
}
