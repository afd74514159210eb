"""Turns a standalone SVG into one that may stand in a page beside others.

Own file because it knows SVG text only: ids, colours, fonts, roles. It draws nothing and knows no claim.
"""

import re

from markupsafe import Markup, escape

from results.figures.style import inline_colors

_BOX = re.compile(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>')


# Controls, Unicode's bidirectional and zero-width characters, surrogates, tags and private planes.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U0010ffff]"
)


def visible(text: str) -> str:
    """The text with its control and direction-changing characters written out, as ‹U+202E›.

    A name must not turn the line around it (Unicode bidi controls), end a tag in XML, or hide.
    """
    return _HIDDEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text)


def inline(svg: str, prefix: str, title: str, description: str) -> Markup:
    """An SVG for the page.

    Args:
        svg: As `results.figures.style.svg` writes it.
        prefix: Unique in the page; goes before every id, since ids are the page's and not the figure's.
        title: Read out by screen readers, with `description`.
        description: What the figure shows, in words.

    Returns:
        One <svg role="img"> element without width and height: it fills its box, up to 1.35 times its size in pt.
    """
    start = _BOX.search(svg)
    if start is None:
        raise ValueError("not an SVG of ours: it has no viewBox from 0 0")
    body = visible(svg[start.end() :].replace("\n", ""))
    body = re.sub(r'<defs><style type="text/css">[^<]*</style></defs>', "", body)
    # In order of appearance: matplotlib's ids are hashes of positions, and their last bits are the processor's.
    used = dict.fromkeys(re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', body))
    names = {name: f"{prefix}-{i}" for i, name in enumerate(used)}
    # Inside tags only: what stands between them is text, and stays as it is.
    body = re.sub(r"<[^>]*>", lambda tag: _page_tag(tag[0], names), body)
    width, height = float(start[1]), float(start[2])
    head = (
        f'<svg role="img" aria-labelledby="{prefix}-t {prefix}-d" viewBox="0 0 {width:g} {height:g}"'
        f' style="max-width:{width * 1.35:.0f}px" xmlns="http://www.w3.org/2000/svg"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink"><title id="{prefix}-t">{escape(visible(title))}</title>'
        f'<desc id="{prefix}-d">{escape(visible(description))}</desc>'
    )
    return Markup(head + body)


def _page_tag(tag: str, names: dict[str, str]) -> str:
    """A tag with the page's ids, colours and font; ids that nothing refers to go (matplotlib names every group)."""
    if ' id="key-' in tag:
        tag = re.sub(r' id="key-([0-9a-f]{6})"', r' class="key" data-arm="--c\1" style="--arm:var(--c\1)"', tag)
    if " id=" in tag:
        tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", tag)
    if "#" in tag:
        tag = re.sub(r'(url\(|xlink:href=")#([^)"]+)', lambda m: f"{m[1]}#{names.get(m[2], m[2])}", tag)
        tag = inline_colors(tag)
    # The page's own font: narrower than the DejaVu Sans that the figure was laid out with, so it fits.
    return re.sub(r"font-family: [^;\"]*;? ?", "", tag) if "font-family:" in tag else tag
