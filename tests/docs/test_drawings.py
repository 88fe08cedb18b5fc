"""The drawings agree with their sources."""

from docs.make_drawings import drawings


def test_every_drawing_is_made_from_its_source() -> None:
    """Each SVG equals what `python -m docs.make_drawings` draws."""
    for path, svg in drawings().items():
        assert path.read_text("utf-8") == svg, f"{path.name}: run `python -m docs.make_drawings`"
