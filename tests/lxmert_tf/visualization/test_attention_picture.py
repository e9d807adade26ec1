"""The drawing: its content, its size, and that the file is complete or absent."""

import contextlib
import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.visualization import KINDS, WORDS
from lxmert_tf.visualization.attention_maps import AttentionMaps
from lxmert_tf.visualization.attention_picture import draw_attention
from lxmert_tf.visualization.region_boxes import region_colors
from tests.lxmert_tf.visualization.conftest import SENTENCE


@contextlib.contextmanager
def captured_figures():
    """Yield a list of the figures that are saved inside the block."""
    figures = []
    save = Figure.savefig

    def capture(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", capture)
        yield figures


@pytest.fixture
def drawn():
    with captured_figures() as figures:
        yield figures


@pytest.fixture(scope="module")
def drawing(maps, image, tmp_path_factory):
    """The figure and the file of the first layer and the second head."""
    path = tmp_path_factory.mktemp("drawing") / "a.png"
    with captured_figures() as figures:
        draw_attention(maps, image, SENTENCE, path, layers=[0], heads=[1])
    return figures[0], path


def made_up(words: int, regions: int) -> AttentionMaps:
    """Return random maps of one layer with two heads."""
    random = np.random.default_rng(0)
    sizes = {WORDS: words, "regions": regions}
    corners = np.sort(random.uniform(size=[regions, 2, 2]), axis=1).astype(np.float32)
    return AttentionMaps(
        pieces=["[CLS]", *["$##piece$"] * (words - 2), "[SEP]"],
        regions=Regions(np.zeros([regions, 1], np.float32), corners.reshape(regions, 4)),
        region_names=["teal rectangle"] * regions,
        layers={
            kind: [random.dirichlet(np.ones(sizes[columns]), [2, sizes[rows]])]
            for kind, (_, rows, columns) in KINDS.items()
        },
    )


def heat_maps(figure: Figure) -> dict[str, object]:
    """Return the axes of each heat map by kind."""
    titles = {title: kind for kind, (title, _, _) in KINDS.items()}
    return {
        titles[text.get_text()]: axes
        for axes in figure.axes
        for text in axes.texts
        if text.get_text() in titles
    }


def test_heat_maps_show_the_selected_layer_and_head(maps, drawing):
    shown = heat_maps(drawing[0])
    assert list(shown) == list(KINDS)
    for kind, axes in shown.items():
        shares = maps.select(kind, 0, 1)
        np.testing.assert_array_equal(axes.images[0].get_array(), shares)
        written = [text.get_text() for text in axes.texts]
        layers = len(maps.layers[kind])
        assert f"layer 1 of {layers}, head 2 of 2; each row sums to 100%" in written
        numbers = {
            text.get_position()[::-1]: text.get_text()
            for text in axes.texts
            if text.get_text().isdigit()
        }
        expected = {i: f"{s * 100:.0f}" for i, s in np.ndenumerate(shares) if s >= 0.005}
        assert numbers == expected
    words = [label.get_text() for label in shown["language_to_vision"].get_yticklabels()]
    assert words == maps.pieces
    regions = [label.get_text() for label in shown["language_to_vision"].get_xticklabels()]
    assert regions == [f"{i}  {name}".rstrip() for i, name in enumerate(maps.region_names, start=1)]


def test_several_layers_and_heads_are_drawn_one_below_the_other(maps, image, tmp_path):
    with captured_figures() as figures:
        draw_attention(
            maps,
            image,
            SENTENCE,
            tmp_path / "a.png",
            ["vision_to_language"],
            layers=[0, 1],
            heads=[1, "mean"],
        )
    shown = [axes.images[0].get_array() for axes in figures[0].axes if axes.get_ylabel()]
    assert len(shown) == 4
    for found, (layer, head) in zip(shown, [(0, 1), (0, "mean"), (1, 1), (1, "mean")]):
        expected = maps.select("vision_to_language", layer, head)
        np.testing.assert_array_equal(found, expected)


def test_a_drawing_that_is_too_large_for_a_png_is_refused(image, tmp_path):
    with pytest.raises(InputError, match=r"[0-9,]+ x [0-9,]+ pixels, and at most 65,535 each way"):
        draw_attention(made_up(20, 36), image, SENTENCE, tmp_path / "a.png", layers=[0] * 60)
    assert not list(tmp_path.iterdir())


def test_equal_drawings_are_equal_svg_files(image, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_attention(made_up(3, 2), image, SENTENCE, tmp_path / name, ["language"])
    content = (tmp_path / "a.svg").read_bytes()
    assert content.startswith(b"<?xml") and b"<svg" in content
    assert content == (tmp_path / "b.svg").read_bytes()


def test_each_word_has_a_picture_with_boxes_as_opaque_as_its_attention(maps, drawing):
    shares = maps.select("language_to_vision", 0, 1)
    colors = region_colors(len(maps.regions))
    pictures = [axes for axes in drawing[0].axes if len(axes.patches) == len(colors)]
    assert len(pictures) == 1 + len(maps.pieces)
    for axes, piece, row in zip(pictures[1:], maps.pieces, shares):
        assert axes.texts[0].get_text() == piece
        best = row.argmax()
        assert axes.texts[1].get_text().startswith(f"{row[best]:.0%} at {best + 1}")
        strengths = {patch.get_edgecolor()[:3]: patch.get_edgecolor()[3] for patch in axes.patches}
        ratios = [strengths[color] / share for color, share in zip(colors, row)]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_drawn_alone(image, tmp_path, drawn, kind):
    draw_attention(made_up(3, 2), image, SENTENCE, tmp_path / "a.png", kinds=[kind])
    assert list(heat_maps(drawn[0])) == [kind]


def test_the_drawing_grows_with_words_and_regions(image, tmp_path):
    sizes = []
    for words, regions in ((3, 1), (20, 36)):
        maps, kinds = made_up(words, regions), ["language", "vision"]
        draw_attention(maps, image, "a\nb " * 99, tmp_path / "a.png", kinds)
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.format == "PNG"
            sizes.append(picture.size)
    # A cell must hold a number of two digits.
    assert sizes[1][0] >= (20 + 36) * 25
    assert sizes[1][1] - sizes[0][1] >= (36 - 3) * 25


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (2500, 30, 3)])
def test_any_picture_can_be_drawn_on(tmp_path, shape):
    pixels = np.full(shape, 7, np.uint8)
    draw_attention(made_up(4, 5), pixels, "what", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert max(picture.size) < 3000


def test_words_are_drawn_as_they_are(image, tmp_path, drawn, recwarn):
    maps = dataclasses.replace(made_up(4, 2), pieces=["[CLS]", r"$\frac", "狗", "[SEP]"])
    draw_attention(maps, image, r"$\frac 狗", tmp_path / "a.png")
    labels = heat_maps(drawn[0])["language"].get_yticklabels()
    assert [label.get_text() for label in labels] == maps.pieces
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message)] == []


@pytest.mark.parametrize("before", [None, b"older"])
def test_a_failure_leaves_the_older_file(image, tmp_path, monkeypatch, before):
    path = tmp_path / "a.png"
    if before is not None:
        path.write_bytes(before)

    def full(figure, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space"):
        draw_attention(made_up(3, 2), image, SENTENCE, path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_nothing_is_drawn_for_an_unknown_layer(maps, image, tmp_path):
    with pytest.raises(InputError, match="language has 1 layer:"):
        draw_attention(maps, image, SENTENCE, tmp_path / "a.png", layers=[1])
    assert list(tmp_path.iterdir()) == []


def test_the_same_maps_give_the_same_bytes(image, tmp_path):
    for name in ("a.png", "b.png"):
        draw_attention(made_up(3, 2), image, SENTENCE, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_colors_of_regions_differ_and_can_be_read_on_white():
    colors = region_colors(36)
    assert len(set(colors)) == 36
    assert max(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in colors) < 0.5
