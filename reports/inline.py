"""Turns a standalone SVG into one that may stand in a page beside others.

Own file because it knows SVG text only: ids, colours, fonts, roles. It draws nothing and knows no claim.
"""

import re

from markupsafe import Markup, escape

from results.style import inline_colors

_BOX = re.compile(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>')


def visible(text: str) -> str:
    """The text with its control and direction-changing characters written out, as <U+202E>.

    A name must not turn the line around it (Unicode bidi controls), end a tag in XML, or hide.
    """
    return "".join(c if _harmless(ord(c)) else f"‹U+{ord(c):04X}›" for c in text)


def _harmless(code: int) -> bool:
    if code < 0x20:
        return code in (0x09, 0x0A)
    hidden = 0x7F <= code <= 0x9F or 0x200B <= code <= 0x200F or 0x202A <= code <= 0x202E
    hidden = hidden or 0x2060 <= code <= 0x206F or code in (0x061C, 0xFEFF, 0xFFFE, 0xFFFF)
    return not (hidden or 0xD800 <= code <= 0xDFFF or code > 0xE0000)


def inline(svg: str, prefix: str, title: str, description: str) -> Markup:
    """An SVG for the page.

    Args:
        svg: As `results.style.svg` writes it.
        prefix: Unique in the page; goes before every id, since ids are the page's and not the figure's.
        title: Read out by screen readers, with `description`.
        description: What the figure shows, in words.

    Returns:
        One <svg role="img"> element without width and height: it fills its box, up to 1.6 times its size in pt.
    """
    start = _BOX.search(svg)
    if start is None:
        raise ValueError("not an SVG of ours: it has no viewBox from 0 0")
    body = svg[start.end() :].replace("\n", "")
    body = re.sub(r'<defs><style type="text/css">[^<]*</style></defs>', "", body)
    used = sorted(set(re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', body)))
    names = {name: f"{prefix}-{i}" for i, name in enumerate(used)}
    # Inside tags only: what stands between them is text, and stays as it is.
    body = re.sub(r"<[^>]*>", lambda tag: _page_tag(tag[0], names), body)
    width, height = float(start[1]), float(start[2])
    head = (
        f'<svg role="img" aria-labelledby="{prefix}-t {prefix}-d" viewBox="0 0 {width:g} {height:g}"'
        f' style="max-width:{width * 1.6:.0f}px" xmlns="http://www.w3.org/2000/svg"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink"><title id="{prefix}-t">{escape(visible(title))}</title>'
        f'<desc id="{prefix}-d">{escape(visible(description))}</desc>'
    )
    return Markup(head + body)


def _page_tag(tag: str, names: dict[str, str]) -> str:
    """A tag with the page's ids, colours and font; ids that nothing refers to go (matplotlib names every group)."""
    if " id=" in tag:
        tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", tag)
    if "#" in tag:
        tag = re.sub(r'(url\(|xlink:href=")#([^)"]+)', lambda m: f"{m[1]}#{names.get(m[2], m[2])}", tag)
        tag = inline_colors(tag)
    # The page's own font: narrower than the DejaVu Sans that the figure was laid out with, so it fits.
    return re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--font)", tag) if "font:" in tag else tag
