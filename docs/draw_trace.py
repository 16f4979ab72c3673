"""Draw docs/img/trace.svg, the spans of one order, as plain SVG: ``make docs``."""

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LANE, LEFT, TOP, BOX = 1180, 92, 150, 40, 26
COLOURS = {"PRODUCER": "#f4b266", "CLIENT": "#9ec5e8", "CONSUMER": "#a8d5a2", "INTERNAL": "#d9d9d9"}
LANES = ("your shop", "relay", "consumer inventory", "relay", "consumer payment")


class Box(NamedTuple):
    """A span: its lane, row in the lane, left and right edge, kind and name."""

    lane: int
    row: int
    left: int
    right: int
    kind: str
    name: str


BOXES = {
    "place": Box(0, 0, 160, 300, "INTERNAL", "place order"),
    "c1": Box(0, 1, 190, 390, "PRODUCER", "create orders:inventory"),
    "s1": Box(1, 0, 330, 510, "CLIENT", "send orders:inventory"),
    "p1": Box(2, 0, 440, 730, "CONSUMER", "process orders:inventory:orders.inventory"),
    "q1": Box(2, 1, 600, 760, "CLIENT", "BATCH ...; COMMIT"),
    "c2": Box(2, 1, 410, 590, "PRODUCER", "create orders:payment"),
    "a1": Box(2, 0, 765, 965, "CLIENT", "ack orders:inventory:..."),
    "s2": Box(3, 0, 640, 810, "CLIENT", "send orders:payment"),
    "p2": Box(4, 0, 720, 1010, "CONSUMER", "process orders:payment:orders.payment"),
    "h2": Box(4, 1, 800, 880, "CLIENT", "POST"),
    "a2": Box(4, 1, 980, 1165, "CLIENT", "ack orders:payment:..."),
}
PARENTS = (("place", "c1"), ("c1", "c2"), ("p1", "q1"), ("p2", "h2"))
LINKS = (("c1", "s1"), ("c1", "p1"), ("c1", "a1"), ("c2", "s2"), ("c2", "p2"), ("c2", "a2"))


def picture() -> str:
    """Return docs/img/trace.svg."""
    height = TOP + len(LANES) * LANE + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-weight="bold">The spans of the first two steps of an order,'
        " time from left to right</text>",
    ]
    for number, lane in enumerate(LANES):
        y = TOP + number * LANE
        fill = "#f7f7f7" if number % 2 else "#ffffff"
        parts.append(f'<rect x="0" y="{y}" width="{WIDTH}" height="{LANE}" fill="{fill}"/>')
        parts.append(f'<text x="10" y="{y + LANE // 2}">{escape(lane)}</text>')
    parts += [arrow(*pair, dashed=False) for pair in PARENTS]
    parts += [arrow(*pair, dashed=True) for pair in LINKS]
    parts += [drawn(box) for box in BOXES.values()]
    parts.append(legend(height - 18))
    return "\n".join([*parts, "</svg>", ""])


def top_of(box: Box) -> int:
    """Return the y of the box's upper edge."""
    return TOP + box.lane * LANE + 12 + box.row * 40


def drawn(box: Box) -> str:
    """Return a box with its name."""
    y = top_of(box)
    return (
        f'<rect x="{box.left}" y="{y}" width="{box.right - box.left}" height="{BOX}" rx="4"'
        f' fill="{COLOURS[box.kind]}" stroke="#555"/>'
        f'<text x="{box.left + 6}" y="{y + 17}">{escape(box.name)}</text>'
    )


def arrow(first: str, second: str, *, dashed: bool) -> str:
    """Return an arrow from the box that comes first in time to the other."""
    one, two = BOXES[first], BOXES[second]
    down = top_of(two) > top_of(one)
    x1, y1 = min(one.right - 12, max(one.left + 12, two.left - 30)), top_of(one) + (BOX if down else 0)
    x2, y2 = two.left + 14, top_of(two) + (0 if down else BOX)
    style = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="M{x1} {y1} L{x2} {y2}" fill="none" stroke="#444"{style} marker-end="url(#tip)"/>'


def legend(y: int) -> str:
    """Return the line that explains colours and arrows."""
    parts, x = [], LEFT
    for kind, colour in COLOURS.items():
        parts.append(f'<rect x="{x}" y="{y - 11}" width="14" height="14" fill="{colour}" stroke="#555"/>')
        parts.append(f'<text x="{x + 20}" y="{y}">{kind}</text>')
        x += 115
    for words, style in (("parent", ""), ("link", ' stroke-dasharray="5 4"')):
        parts.append(f'<path d="M{x} {y - 4} h40" stroke="#444"{style} marker-end="url(#tip)"/>')
        parts.append(f'<text x="{x + 48}" y="{y}">{words}</text>')
        x += 120
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "img/trace.svg").write_text(picture())
