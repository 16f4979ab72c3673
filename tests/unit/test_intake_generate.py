"""Generated orders: the same seed gives the same file, and it holds what a demonstration needs."""

from collections import Counter
from itertools import islice

from ordermq.shop.intake.demand import demand_of, stock_for
from ordermq.shop.intake.generate import generate, json_line, varied
from ordermq.shop.intake.record import decode
from ordermq.shop.model import Order


def test_a_seed_gives_the_same_orders_and_a_longer_run_begins_with_them() -> None:
    assert list(generate(50, 7)) == list(islice(generate(80, 7), 50))
    assert list(generate(50, 7)) != list(generate(50, 8))


def test_a_written_line_reads_back_as_the_same_order() -> None:
    for order in generate(200, 1):
        assert decode(json_line(order).decode(), Order) == order


def test_varied_orders_have_discounts_and_gift_cards_and_are_valid() -> None:
    orders = [decode(json_line(order).decode(), Order) for order in varied(1000, 1)]
    assert orders == list(varied(1000, 1))
    assert [order.items for order in orders] == [order.items for order in generate(1000, 1)]
    assert 120 < sum(order.has_adjustments and order.is_charged for order in orders) < 220
    assert 10 < sum(order.total_minor == 0 for order in orders) < 60
    assert all(order.card_token is None for order in orders if order.total_minor == 0)


def test_about_one_in_fifty_is_declined_and_few_time_out() -> None:
    cards = Counter(order.card_token[-4:] for order in generate(5000, 1))
    assert 60 < cards["0002"] < 150
    assert 0 < cards["0003"] + cards["0005"] < 120
    assert cards["0001"] > 4500


def test_few_products_make_most_of_the_sales_and_many_orders_have_several_items() -> None:
    orders = list(generate(3000, 1))
    sold = [units for _, units in demand_of(orders).most_common()]
    assert sum(sold[:50]) > sum(sold) / 2
    assert sum(len(order.items) > 1 for order in orders) > 900


def test_stock_covers_all_but_a_part_of_the_best_sellers() -> None:
    demand = demand_of(generate(2000, 1))
    stock = dict(stock_for(demand, cover=0.9))
    short = {product for product in demand if stock[product] < demand[product]}
    assert stock.keys() == demand.keys()
    assert short == {product for product, _ in demand.most_common(len(short))}
    assert 1 <= len(short) <= 5
    assert all(stock[product] == int(demand[product] * 0.9) for product in short)


def test_full_cover_leaves_no_product_short() -> None:
    demand = demand_of(generate(100, 1))
    assert dict(stock_for(demand, cover=1.0)) == demand
