"""How an order's adjustments are split over its lines, and a line's share over its units. Pure.

The rule. The sum of the order's adjustments is split over the lines in proportion to the lines' own amounts
(units x price + freight + the line's adjustments). Each line gets its part rounded towards 0; what is left,
unit by unit, goes to the lines with the largest remainder, of equal ones to the lower line. If all lines
cost nothing, they get equal parts. A line's amount with its part is its share.

Q of a line's N units are worth floor(share x (B + Q) / N) - floor(share x B / N), where B is how many units
were counted before. So the shares add up to the order's total exactly, the parts of a line add up to its
share exactly, and as no total is below 0, no share and no part is.
"""

from collections.abc import Sequence


def shares(own_minor: Sequence[int], adjustments_minor: int) -> list[int]:
    """Return the share of each line: its own amount with its part of the order's adjustments.

    Amounts are not below 0, and neither is their sum with ``adjustments_minor``.
    """
    parts = split(abs(adjustments_minor), own_minor)
    sign = -1 if adjustments_minor < 0 else 1
    return [own + sign * part for own, part in zip(own_minor, parts, strict=True)]


def split(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount that is not below 0 in proportion to the weights, by the largest remainder."""
    total = sum(weights)
    if total == 0:
        weights, total = [1] * len(weights), len(weights)
    parts = [amount_minor * weight // total for weight in weights]
    # The sort is stable, so of equal remainders the lower line comes first.
    by_remainder = sorted(range(len(weights)), key=lambda line: -(amount_minor * weights[line] % total))
    for line in by_remainder[: amount_minor - sum(parts)]:
        parts[line] += 1
    return parts


def worth(share_minor: int, units: int, *, of: int, before: int) -> int:
    """Return what ``units`` of a line of ``of`` are worth; ``before`` units were counted before them."""
    return share_minor * (before + units) // of - share_minor * before // of
