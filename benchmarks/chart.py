"""The cases' ratios as one picture: how many times the best peer, and the limit. Pure."""

from collections.abc import Sequence

from benchmarks.report import Outcome

_WIDTH, _ROW, _LABEL = 760, 26, 250


def chart(outcomes: Sequence[Outcome]) -> str:
    """Return an SVG: one bar a contender, in each case as a part of that case's largest figure."""
    rows: list[str] = []
    y = 10
    for outcome in outcomes:
        rows.append(f'<text x="8" y="{y + 14}" font-weight="600">{outcome.case.name}</text>')
        y += _ROW
        largest = max((figure.median for figure in outcome.figures.values()), default=0.0) or 1.0
        for key, figure in outcome.figures.items():
            width = (_WIDTH - _LABEL - 130) * figure.median / largest
            colour = "#2f6f4f" if key.startswith("ordermq") else "#9aa5b1"
            label_x = _LABEL + max(width, 1) + 6
            rows.append(
                f'<text x="24" y="{y + 13}">{key}</text>'
                f'<rect x="{_LABEL}" y="{y + 2}" width="{max(width, 1):.0f}" height="14" fill="{colour}"/>'
                f'<text x="{label_x:.0f}" y="{y + 13}">{figure.median:,.4g} {figure.unit}</text>'
            )
            y += 20
        y += 8
    body = "".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif"'
        f' font-size="12">{body}</svg>\n'
    )
