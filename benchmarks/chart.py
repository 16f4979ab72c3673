"""The rates of a run as one picture: a bar a contender, longer is faster. Pure."""

from collections.abc import Mapping
from typing import Any

_WIDTH, _BAR_X, _BAR_WIDTH, _STEP = 820, 250, 430, 20
_OURS, _OTHERS = "#2f6f4f", "#9aa5b1"

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What build/bench.json holds: cases, their contenders, and each one's figures."""


def chart(found: Found) -> str:
    """Return an SVG of all that is counted a second, each case by its own scale."""
    drawn: list[str] = []
    y = 8
    for case, contenders in found.items():
        rates = {
            name: figure
            for name, figure in contenders.items()
            if figure["unit"].endswith("/s") and not name.endswith("_offered")
        }
        if not rates:
            continue
        drawn.append(f'<text x="8" y="{y + 14}" font-weight="600">{case}</text>')
        y += 24
        largest = max(figure["median"] for figure in rates.values()) or 1.0
        for name, figure in rates.items():
            width = max(1, round(_BAR_WIDTH * figure["median"] / largest))
            colour = _OURS if name.startswith("ordermq") else _OTHERS
            drawn.append(
                f'<text x="24" y="{y + 12}">{name}</text>'
                f'<rect x="{_BAR_X}" y="{y + 1}" width="{width}" height="14" fill="{colour}"/>'
                f'<text x="{_BAR_X + width + 6}" y="{y + 12}">{figure["median"]:,.0f} {figure["unit"]}</text>'
            )
            y += _STEP
        y += 10
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif"'
        f' font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
