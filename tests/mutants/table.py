"""The mutations: a promise broken by one edit, and where the suite has to turn red.

``old`` stands exactly once in ``path``; ``tests`` are pytest's arguments, the least that should
notice. An edit that no longer applies is an error, not a mutation less.
"""

from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """See the module."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, tree: Path) -> str:
        """Write the mutation into ``tree``; return the file's text as it was."""
        file = tree / self.path
        text = file.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {text.count(self.old)} places in {self.path} read {self.old!r}")
        file.write_text(text.replace(self.old, self.new))
        return text


CONSUMER = "tests/functional/test_consumer.py"
PLACE = "tests/functional/test_orders_place.py"
TABLES = "tests/functional/test_store_tables.py"
CONFIRMS = "tests/unit/test_amqp_confirms.py"
CAPTURES = "tests/functional/test_orders_captures.py"
ARCHIVES = "tests/functional/test_archives.py"
# A random test may miss a mutation, so a test that always finds it stands beside it.
SAGA = ("tests/unit/test_orders_saga_messages.py", "tests/unit/test_orders_saga.py")
LEASES = (
    f"{TABLES}::test_whoever_takes_and_loses_leases_in_whatever_order_one_owner_holds_each",
    f"{TABLES}::test_a_lease_is_one_owners_until_it_is_released_or_runs_out",
    f"{TABLES}::test_of_two_who_take_a_lease_at_the_same_moment_one_has_it",
    f"{TABLES}::test_whoever_finds_a_lease_taken_does_not_hold_up_its_release",
)
SIGNING = "tests/unit/test_signing.py"
MONEY = "tests/unit/test_http_payment.py"
PAYMENT = "tests/functional/test_orders_payment.py"
NATIVE = "tests/unit/test_intake_native.py"
SHOPIFY = "tests/unit/test_intake_shopify.py"
COMMANDS = "tests/functional/test_commands.py"
REPLAY = "tests/functional/test_orders_replay.py"
QUERIES = "tests/functional/test_orders_queries.py"
CAUSES = "tests/functional/test_death_causes.py"
INSTANT = "tests/functional/test_order_instant.py"
POSITIONS = "tests/functional/test_positions.py"
TAMPERING = "tests/functional/test_audit_tampering.py"
INVENTORY = "tests/functional/test_orders_inventory.py"
RETRIED = f"{CONSUMER}::test_mixed_outcomes_of_one_batch_are_settled_each_by_its_own"
GIVEN_UP = (
    f"{CONSUMER}::"
    "test_a_message_that_raises_is_retried_by_the_outbox_and_then_dead_and_costs_its_neighbours_nothing"
)

MUTATIONS = (
    # --- gateways ---
    Mutation(
        "a key of Stripe's that is used before it is written down", "ordermq/shop/gateways/stripe/gateway.py",
        "        row = self._keys.begin(capture.key, capture.order_id)\n        if not row.is_new or",
        "        row = self._keys.read(capture.key)\n        if row is not None and",
        ("tests/functional/test_stripe_gateway.py::"
         "test_a_key_is_written_down_before_it_is_used_and_what_it_made_after",),
    ),
    Mutation(
        "a used key of Stripe's that is not looked up", "ordermq/shop/gateways/stripe/gateway.py",
        "        if not row.is_new or self._search_first:\n",
        "        if self._search_first:\n",
        ("tests/functional/test_stripe_gateway.py::"
         "test_a_capture_again_after_a_day_is_looked_up_and_no_second_one",),
    ),
    Mutation(
        "a declined PaymentIntent that may be paid later", "ordermq/shop/gateways/stripe/gateway.py",
        '        if isinstance(answer, Declined) and text_of(intent, "status") != "canceled":\n',
        "        if isinstance(answer, Declined) and not intent:\n",
        ("tests/functional/test_stripe_gateway.py::test_a_declined_payment_can_never_be_paid_later",),
    ),
    Mutation(
        "a webhook that anybody may send", "ordermq/shop/gateways/stripe/signature.py",
        "    if not any(matches):\n",
        "    if not matches:\n",
        ("tests/unit/test_stripe_signature.py",),
    ),
    Mutation(
        "a webhook that is repeated for ever", "ordermq/shop/gateways/stripe/signature.py",
        "    if abs(now_s - int(signed_at)) > tolerance_s:\n",
        "    if now_s < 0:\n",
        ("tests/unit/test_stripe_signature.py",),
    ),
    Mutation(
        "an event of Stripe's that has its effect each time", "ordermq/shop/gateways/stripe/webhook.py",
        "_hasten(body, tx) if is_new else 0",
        "_hasten(body, tx)",
        ("tests/functional/test_stripe_webhook.py::test_an_event_that_comes_again_changes_nothing",),
    ),
    Mutation(
        "points booked under a key of each attempt", "ordermq/shop/points_bookings.py",
        'first = f"points:{shop}:{self.order_id}"',
        'first = f"points:{shop}:{self.order_id}:{id(self)}"',
        ("tests/functional/test_points_gateway.py",),
    ),
    # --- refunds of parts ---
    Mutation(
        "more paid back than was taken", "ordermq/shop/refunding.py",
        "        if wanted_minor > left_minor:\n", "        if wanted_minor > left_minor + 10**9:\n",
        ("tests/functional/test_orders_refunds.py::"
         "test_never_more_goes_back_than_was_taken_and_no_more_units_than_were_ordered",),
    ),
    Mutation(
        "the same refund asked for twice made twice", "ordermq/shop/refunding.py",
        "        if known and not again:\n", "        if known and again:\n",
        ("tests/functional/test_orders_refunds.py::"
         "test_the_same_request_again_is_absorbed_and_a_second_one_on_purpose_is_not",),
    ),
    Mutation(
        "one key for all refunds of a capture", "ordermq/shop/refunds.py",
        'f"refund:{refund_no}:{capture_key}"', 'f"refund:{capture_key}"',
        ("tests/functional/test_orders_refunds.py::"
         "test_the_same_request_again_is_absorbed_and_a_second_one_on_purpose_is_not",),
    ),
    Mutation(
        "a refund reported by hand while one is under way", "ordermq/shop/by_hand.py",
        "        if newest is None or newest[0] != EventType.REFUND_FAILED:\n",
        "        if newest is None:\n",
        ("tests/functional/test_orders_refunds.py::"
         "test_a_service_that_has_less_left_than_our_books_asks_a_person_who_reports_it",),
    ),
    Mutation(
        "points taken back again with each answer", "ordermq/shop/points_bookings.py",
        "b.number = v.number AND b.booked_at IS NULL\n", "b.number = v.number\n",
        ("tests/functional/test_points_gateway.py::test_an_answer_that_comes_twice_is_written_once",),
    ),
    # --- one order does not stop the others ---
    Mutation(
        "a backoff that one message lengthens for all", "ordermq/consumer/breaker.py",
        "        openings = self.openings + (message_id not in self.failed)\n",
        "        openings = self.openings + 1\n",
        ("tests/unit/test_breaker.py",),
    ),
    Mutation(
        "the oldest message as a probe", "ordermq/consumer/intake.py",
        "key=lambda at: _hop(self._waiting[at])",
        "key=lambda at: at",
        ("tests/unit/test_intake.py",),
    ),
    # --- an order costs what its shop says, once ---
    Mutation(
        "a paid order is charged again", "ordermq/shop/model.py",
        "return self.total_minor > 0 and self.payment is None",
        "return self.total_minor > 0",
        (f"{PLACE}::test_who_is_charged_and_how_the_customer_is_told_is_decided_when_it_is_placed",),
    ),
    Mutation(
        "adjustments lost where many orders are placed", "ordermq/shop/placement.py",
        "*(arrays_of(adjustments) if adjustments else _NO_ADJUSTMENTS)",
        "*_NO_ADJUSTMENTS",
        (f"{PLACE}::test_what_an_order_costs_beside_its_items_is_stored_line_by_line",),
    ),
    Mutation(
        "tax that the prices hold is added", "ordermq/shop/adjustment.py",
        " if each.kind is not AdjustmentKind.TAX_INCLUDED",
        "",
        ("tests/unit/test_orders_model.py",),
    ),
    Mutation(
        "cents of a split lost", "ordermq/shop/split.py",
        "        parts[line] += 1\n",
        "        parts[line] += 0\n",
        ("tests/unit/test_orders_split.py",),
    ),
    Mutation(
        "an order with 00 before its number is another when it comes again", "ordermq/shop/model.py",
        "        if (number := self.contact.phone) and number.startswith(\"+\"):",
        "        if (number := self.contact.phone) and number.startswith(\"-\"):",
        ("tests/unit/test_orders_model.py",),
    ),
    Mutation(
        "what is no number is texted", "ordermq/shop/phone.py",
        "        return phone if is_number(phone) else None",
        "        return phone",
        ("tests/unit/test_orders_phone.py",),
    ),
    Mutation(
        "a product that was never loaded is sold out", "ordermq/shop/handlers/inventory.py",
        "        elif never_loaded := sorted(wanted[order_id].keys() - on_hand.keys()):",
        "        elif never_loaded := sorted(()):",
        ("tests/functional/test_orders_unknown_products.py",),
    ),
    Mutation(
        "a lost unit that is promised to an order", "ordermq/shop/stock.py",
        " AND on_hand + %(by)s BETWEEN 0 AND %(most)s",
        "",
        ("tests/functional/test_orders_unknown_products.py",),
    ),
    # --- any client that may publish can name any order ---
    Mutation(
        "an order alerts again at each message that names it", "ordermq/shop/unreadable.py",
        " or journal.attention(order_id) is not None",
        "",
        (
            "tests/functional/test_orders_unreadable.py"
            "::test_however_many_messages_name_an_order_it_asks_once_until_it_is_resolved",
        ),
    ),
    # --- once, although the broker delivers twice ---
    Mutation(
        "inbox skipped", "ordermq/consumer/settle.py",
        "            fresh = [each for each in messages if each.envelope.message_id in new]",
        "            fresh = list(messages)",
        (f"{CONSUMER}::test_each_message_has_its_effect_once_however_often_it_is_delivered",),
    ),
    Mutation(
        "duplicates in one batch not merged", "ordermq/consumer/received.py",
        "        earlier = by_id.get(message_id)",
        "        earlier = None",
        ("tests/unit/test_received.py",),
    ),
    Mutation(
        "a message that is done is handled again at its next hop", "ordermq/store/inbox.py",
        "     WHERE seen.outcome <> 'done' AND seen.hop < excluded.hop\n",
        "     WHERE seen.hop < excluded.hop\n",
        (f"{TABLES}::test_a_hop_is_settled_once_and_a_later_hop_again_until_one_is_done",),
    ),
    # --- acks ---
    Mutation(
        "ack before commit", "ordermq/consumer/worker.py",
        "            with timer.time():\n",
        "            self._context.report(some)\n            with timer.time():\n",
        (f"{CONSUMER}::test_a_long_pause_gives_the_deliveries_back_and_ends_with_a_new_subscription",),
    ),
    Mutation(
        "cumulative ack above a gap", "ordermq/consumer/frontier.py",
        "acks.append(Ack(tag, multiple=False))",
        "acks.append(Ack(tag, multiple=True))",
        ("tests/unit/test_frontier.py",),
    ),
    Mutation(
        "tags of a lost channel acked", "ordermq/consumer/runtime.py",
        "            if message.epoch == self._epoch:\n",
        "            if message.epoch:\n",
        (f"{CONSUMER}::test_what_was_begun_on_a_lost_channel_is_not_acked_on_the_next",),
    ),
    Mutation(
        "prefetch unbounded", "ordermq/amqp/subscription.py",
        "prefetch_count=prefetch)",
        "prefetch_count=0)",
        ("tests/functional/test_amqp_subscription.py::test_the_broker_sends_no_more_than_the_prefetch_unacked",),
    ),
    # --- confirms ---
    Mutation(
        "return treated as confirm", "ordermq/amqp/confirms.py",
        "        return PublishOutcome.RETURNED, reason",
        '        return PublishOutcome.CONFIRMED, ""',
        (CONFIRMS,),
    ),
    Mutation(
        "nack treated as ack", "ordermq/amqp/confirms.py",
        'return [(publishing, PublishOutcome.NACKED, "") for publishing in confirmed]',
        'return [(publishing, PublishOutcome.CONFIRMED, "") for publishing in confirmed]',
        (CONFIRMS,),
    ),
    Mutation(
        "publishings in flight on a lost channel confirmed", "ordermq/amqp/publisher.py",
        "            sent.batch.resolve(sent.index, PublishOutcome.UNKNOWN, reason)",
        "            sent.batch.resolve(sent.index, PublishOutcome.CONFIRMED, reason)",
        ("tests/functional/test_amqp_publisher.py::"
         "test_a_missing_exchange_leaves_the_publishing_unknown_and_the_publisher_working",),
    ),
    Mutation(
        "relay deletes rows that were refused", "ordermq/relay.py",
        "outbox.delete(tx, result.confirmed)",
        "outbox.delete(tx, [row.outbox_id for row in rows])",
        ("tests/functional/test_relay.py::"
         "test_a_row_no_queue_takes_is_reported_and_holds_back_only_its_own_order",),
    ),
    Mutation(
        "relay deletes rows that were not confirmed", "ordermq/relay.py",
        "        if outcome is PublishOutcome.CONFIRMED:\n            result.confirmed.append",
        "        if outcome in (PublishOutcome.CONFIRMED, PublishOutcome.UNKNOWN):\n"
        "            result.confirmed.append",
        ("tests/functional/test_relay.py::test_rows_published_without_a_confirm_stay_and_are_published_again",),
    ),
    Mutation(
        "two relays at once", "ordermq/store/migrations/0016_runs.sql",
        "WHEN NOT pg_try_advisory_xact_lock(relay_lock)",
        "WHEN pg_try_advisory_xact_lock(relay_lock) IS NULL",
        (f"{TABLES}::test_one_relay_is_active_until_its_transaction_ends",),
    ),
    Mutation(
        "rows claimed on a read-only server", "ordermq/store/migrations/0016_runs.sql",
        "        WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only'\n", "",
        (f"{TABLES}::test_a_claim_where_nothing_can_be_deleted_is_none",),
    ),
    Mutation(
        "a row goes out before an earlier one of its order that is still to be put off",
        "ordermq/store/migrations/0007_refused.sql",
        "(earlier.refusals > 0 OR earlier.available_at <= now() AND earlier.routing_key = ANY(refusing))",
        "earlier.refusals > 0",
        (f"{TABLES}::"
         "test_a_claim_beside_queues_that_refuse_returns_no_row_of_theirs_and_none_that_waits_for_one",),
    ),
    Mutation(
        "rows are due from the beginning of their transaction on",
        "ordermq/store/migrations/0011_low_mark.sql",
        "SET DEFAULT CASE WHEN pg_current_xact_id() IS NOT NULL THEN clock_timestamp() END;",
        "SET DEFAULT now();",
        ("tests/functional/test_low_mark.py::"
         "test_a_transaction_that_begins_early_and_writes_late_is_not_skipped",),
    ),
    Mutation(
        "the low mark passes transactions that go on", "ordermq/store/migrations/0016_runs.sql",
        "IF mark_xid < pg_snapshot_xmin(", "IF mark_xid < pg_snapshot_xmax(",
        ("tests/functional/test_low_mark.py::"
         "test_a_transaction_that_writes_and_ends_late_holds_the_mark_until_it_has_ended",),
    ),
    Mutation(
        "the low mark passes rows that were not deleted", "ordermq/store/migrations/0016_runs.sql",
        "least(next_mark, (SELECT min(available_at) FROM ordermq.outbox WHERE available_at >= first));",
        "next_mark;",
        ("tests/functional/test_low_mark.py::"
         "test_no_row_is_skipped_however_transactions_and_claims_follow_each_other",),
    ),
    Mutation(
        "nothing looks below the low mark", "ordermq/store/low_mark.py",
        "now_s >= self._look_at_s\n", "False\n",
        ("tests/functional/test_low_mark.py::"
         "test_what_is_due_before_the_mark_for_whatever_reason_is_found_by_a_claim_that_looks_below",),
    ),
    Mutation(
        "the relay forgets the low mark", "ordermq/relay.py",
        "beside=beside, mark=self._mark)", "beside=beside)",
        ("tests/functional/test_low_mark.py::test_a_relay_keeps_a_mark",),
    ),
    # --- transactions ---
    Mutation(
        "a commit of unknown outcome taken for success", "ordermq/store/session.py",
        '                raise CommitUnknown(f"the connection broke during COMMIT: {error}") from exc',
        "                return",
        ("tests/functional/test_store_session.py::"
         "test_a_connection_that_breaks_at_commit_leaves_the_outcome_unknown",),
    ),
    Mutation(
        "inbox rows locked in no order", "ordermq/store/inbox.py",
        "zip(*sorted(messages), strict=True)",
        "zip(*messages, strict=True)",
        (f"{TABLES}::test_batches_that_share_messages_settle_each_once_and_never_deadlock",),
    ),
    Mutation(
        "a refusal by the broker read as its confirm", "ordermq/amqp/wire.py",
        "bool(bits & 1), method == _NACK)",
        "bool(bits & 1), False)",
        ("tests/unit/test_amqp_wire.py::test_every_message_arrives_whole_wherever_the_stream_was_cut",),
    ),
    Mutation(
        "a quote ends an element of an array", "ordermq/store/arrays.py",
        """value.replace("\\\\", "\\\\\\\\").replace('"', '\\\\"')""",
        "value",
        ("tests/unit/test_store_arrays.py",),
    ),
    Mutation(
        "stock locked in no order", "ordermq/shop/stock.py",
        'ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE',
        "ORDER BY random() FOR NO KEY UPDATE",
        (f"{INVENTORY}::test_batches_that_share_rows_lock_them_in_one_order",),
    ),
    Mutation(
        "wanted stock locked in no order", "ordermq/shop/migrations/0017_steps.sql",
        'order_id = ANY(order_ids)))\n      ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE',
        "order_id = ANY(order_ids)))\n      ORDER BY random() FOR NO KEY UPDATE",
        (f"{INVENTORY}::test_batches_that_share_rows_lock_them_in_one_order",),
    ),
    Mutation(
        "stock of ended reservations locked in no order", "ordermq/shop/migrations/0017_steps.sql",
        'ANY(products) ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE',
        "ANY(products) ORDER BY random() FOR NO KEY UPDATE",
        (f"{INVENTORY}::test_batches_that_share_rows_lock_them_in_one_order",),
    ),
    Mutation(
        "orders locked in no order", "ordermq/shop/journal.py",
        'ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE',
        "ORDER BY random() FOR NO KEY UPDATE",
        (f"{INVENTORY}::test_batches_that_share_rows_lock_them_in_one_order",),
    ),
    # --- retries and dead letters ---
    Mutation(
        "retry acked and not written", "ordermq/consumer/settle.py",
        "            tx.append([self._next_hop(*by_id[message_id]) for message_id in sorted(new)])\n",
        "",
        (RETRIED,),
    ),
    Mutation(
        "attempt not counted", "ordermq/consumer/settle.py",
        "attempt=envelope.attempt + isinstance(outcome, Retry)",
        "attempt=envelope.attempt",
        (RETRIED,),
    ),
    Mutation(
        "a retry looks like its own duplicate", "ordermq/consumer/settle.py",
        "hop=next_hop(envelope.hop)",
        "hop=envelope.hop",
        (GIVEN_UP,),
    ),
    Mutation(
        "dead letter without on_dead", "ordermq/consumer/settle.py",
        "                message.handler.on_dead(message.payload, reason, tx)",
        "                pass",
        (GIVEN_UP,),
    ),
    Mutation(
        "what follows from a death waited for although it is at fault alone", "ordermq/consumer/settle.py",
        "        self._deaths.done(messages)\n", "",
        ("tests/functional/test_server_trouble.py::"
         "test_what_follows_from_one_death_alone_holds_up_no_neighbour_and_asks_a_person",),
    ),
    Mutation(
        "what follows from a death skipped while the server has trouble", "ordermq/consumer/settle.py",
        "                if isinstance(outcome, Postpone) and _may_give_way(message):\n",
        "                if isinstance(outcome, Postpone) and not _may_give_way(message):\n",
        ("tests/functional/test_server_trouble.py::"
         "test_what_follows_from_a_death_waits_for_the_server_and_is_not_skipped",),
    ),
    Mutation(
        "a neighbour fails with the message that failed", "ordermq/consumer/batch.py",
        "            if len(pending) == 1:\n",
        "            if len(pending) <= 2:\n",
        ("tests/unit/test_batch.py",),
    ),
    Mutation(
        "a message that kills its process is started for ever", "ordermq/store/starts.py",
        "MAX_STARTS = 3\n",
        "MAX_STARTS = 3_000\n",
        (f"{CONSUMER}::test_a_message_that_never_ended_three_starts_is_dead",),
    ),
    # --- calls to services ---
    Mutation(
        "lease ignored", "ordermq/store/migrations/0018_lookups.sql",
        "         WHERE lease.lease_until < now()\n",
        "",
        LEASES,
    ),
    Mutation(
        "a lease locked by an owner that finds it taken", "ordermq/store/migrations/0018_lookups.sql",
        "(SELECT held.lease_until < now() FROM",
        "(SELECT true FROM",
        LEASES,
    ),
    Mutation(
        "foreign lease released", "ordermq/store/leases.py",
        'ANY(%s) AND owner = %s",\n            (queue, list(message_ids), owner)',
        'ANY(%s)",\n            (queue, list(message_ids))',
        LEASES,
    ),
    Mutation(
        "a text sent again although the first may have been sent", "ordermq/shop/handlers/notification.py",
        """            case NotificationState.SENDING:
                # The worker that wrote this may have sent it, and died before it wrote the result.
                telling.mark_unknown(key, "its sender did not come back")
""",
        "",
        ("tests/functional/test_orders_notify.py::"
         "test_a_message_whose_sender_did_not_come_back_is_unknown_and_never_sent_again",),
    ),
    Mutation(
        "an e-mail of which no answer came taken for not sent", "ordermq/shop/gateways/smtp_client.py",
        "                raise OutcomeUnknown(\n",
        "                raise GatewayUnavailable(\n",
        ("tests/functional/test_orders_smtp.py::"
         "test_without_an_answer_to_the_whole_message_it_may_have_been_sent",),
    ),
    Mutation(
        "a refund told of twice, with the next one", "ordermq/shop/handlers/notification.py",
        "        since = self.notified.settled_until(key)\n",
        "        since = 0\n",
        ("tests/functional/test_orders_email.py::"
         "test_each_refund_is_told_once_with_its_own_amount",),
    ),
    Mutation(
        "a key of its own for each capture", "ordermq/shop/handlers/capture.py",
        "        key = due.idempotency_key or payments.new_key(self._shop, due.order_id)\n",
        "        key = payments.new_key(self._shop, due.order_id) + str(id(due))\n",
        ("tests/functional/test_orders_payment.py::"
         "test_a_time_out_is_unknown_and_resolved_by_asking_not_by_charging_again",),
    ),
    # --- stderr ---
    Mutation(
        "a library's line waits for what reads the log", "ordermq/observe/foreign.py",
        "    os.set_blocking(writer, False)\n", "",
        ("tests/unit/test_observe_foreign.py::test_a_writer_who_holds_python_s_lock_does_not_wait_for_the_reader",),
    ),
    # --- what a payment service answers ---
    Mutation(
        "a capture of other money believed", "ordermq/shop/gateways/http_payment.py",
        '        _check(\n            "capture", answer,',
        '        dict(\n            of="capture", by=answer,',
        (f"{MONEY}::test_an_answer_about_other_money_is_refused_and_named",
         f"{PAYMENT}::test_a_capture_of_other_money_under_the_orders_key_is_never_believed"),
    ),
    Mutation(
        "a refund of other money believed", "ordermq/shop/gateways/http_payment.py",
        '    _check("refund", answer, **wanted)\n', "",
        (f"{MONEY}::test_an_answer_about_other_money_is_refused_and_named",),
    ),
    Mutation(
        "a payment that is pending taken for paid", "ordermq/shop/gateways/http_payment.py",
        'status != "captured" and status not in _GIVEN_BACK:', "not status:",
        (f"{MONEY}::test_what_is_not_over_is_asked_for_again",
         f"{PAYMENT}::test_a_capture_that_is_pending_is_asked_for_again"),
    ),
    Mutation(
        "a refund that is pending taken for made", "ordermq/shop/gateways/http_payment.py",
        '    if status != "refunded":\n        return Pending(status)\n', "",
        (f"{MONEY}::test_what_is_not_over_is_asked_for_again",),
    ),
    Mutation(
        "a capture tried again under a key that may be forgotten", "ordermq/shop/handlers/capture.py",
        "        return bool(due.key_lives) and", "        return",
        (f"{PAYMENT}::test_a_capture_whose_key_may_be_forgotten_is_not_tried_again_but_a_person_is_asked",),
    ),
    Mutation(
        "a refund tried again under a key that may be forgotten", "ordermq/shop/handlers/refund.py",
        "refund.key_lives is False\n", "refund.key_lives is None\n",
        (f"{PAYMENT}::test_a_refund_whose_key_may_be_forgotten_is_looked_for_before_it_is_tried_again",),
    ),
    Mutation(
        "points for a hundredth of every currency", "ordermq/shop/points.py",
        "10 ** decimals_of(order.currency)", "100",
        (f"{MONEY}::test_points_are_whole_units_of_every_currency",),
    ),
    Mutation(
        "an amount that a service reads in other units", "ordermq/shop/minor_units.py",
        "    return ServiceAmount(amount, exponent)\n", "    return ServiceAmount(amount_minor, exponent)\n",
        ("tests/unit/test_minor_units.py",),
    ),
    # --- whole orders or none ---
    Mutation(
        "an order placed without a row that could not be read", "ordermq/shop/intake/spool.py",
        "            if doubt and row.order_id:\n", "            if doubt and not row.order_id:\n",
        (f"{NATIVE}::test_a_row_that_names_no_order_costs_the_orders_beside_it_and_no_other",),
    ),
    Mutation(
        "an order placed without its last row, which could not be read", "ordermq/shop/intake/spool.py",
        "                if before:\n", "                if not before:\n",
        (f"{NATIVE}::test_a_row_that_names_no_order_costs_the_orders_beside_it_and_no_other",),
    ),
    Mutation(
        "an order of before in another spelling is a conflict", "ordermq/shop/place.py",
        "earlier.get(order_id))", "None)",
        (f"{PLACE}::test_an_order_of_before_in_another_spelling_is_compared_by_what_its_rows_mean",),
    ),
    # --- commands without an id ---
    Mutation(
        "a command written again by its cause is another message", "ordermq/store/transaction.py",
        "cause = self.traces.get(command.correlation_id) or trace.new()",
        "cause = trace.new()",
        (f"{COMMANDS}::test_the_same_command_of_the_same_cause_is_the_same_message",),
    ),
    Mutation(
        "of two equal commands one is sent", "ordermq/store/transaction.py",
        'message_id if count == 1 else f"{message_id}.{count}"',
        "message_id",
        (f"{COMMANDS}::test_equal_commands_of_one_transaction_are_as_many_messages_and_the_same_ones_again",),
    ),
    # --- compensations ---
    Mutation(
        "declined, and the stock stays reserved", "ordermq/shop/saga.py",
        "(_RESERVED, EventType.PAYMENT_DECLINED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),",
        "(_RESERVED, EventType.PAYMENT_DECLINED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,)),",
        SAGA,
    ),
    Mutation(
        "captured too late, and not refunded", "ordermq/shop/saga.py",
        "(_CANCELLED, EventType.PAYMENT_CAPTURED): Row(_CANCELLED, (Step.REFUND,)),",
        "(_CANCELLED, EventType.PAYMENT_CAPTURED): Row(_CANCELLED),",
        SAGA,
    ),
    Mutation(
        "a late capture refused", "ordermq/shop/saga.py",
        "_LATE = {\n    EventType.PAYMENT_CAPTURED,\n",
        "_LATE = {\n",
        SAGA,
    ),
    # --- captures, one after another ---
    Mutation(
        "another card charged under the key that was declined", "ordermq/shop/captures.py",
        '    return f"{first}:{capture_no + 1}"\n',
        "    return first\n",
        (f"{CAPTURES}::"
         "test_an_order_whose_card_was_declined_waits_is_told_and_is_paid_by_another_card",),
    ),
    Mutation(
        "an answer about the capture before believed of the next one", "ordermq/shop/handlers/capture.py",
        "isinstance(result, CaptureReply) and result.key != payment.idempotency_key",
        "False",
        (f"{CAPTURES}::test_a_result_of_the_capture_before_does_not_touch_the_next_one",),
    ),
    Mutation(
        "a late word of another owner undoes a decline", "ordermq/shop/handlers/capture.py",
        "return not _is_taken(result)",
        "return False",
        ("tests/functional/test_orders_card_action.py::"
         "test_a_late_word_of_one_owner_does_not_undo_the_decline_that_another_has_written",),
    ),
    Mutation(
        "the grace of a second card ends with that of the first", "ordermq/shop/handlers/expire.py",
        "        if order_id in left_s:\n",
        "        if False:\n",
        (f"{CAPTURES}::"
         "test_a_card_that_is_declined_too_begins_the_grace_again_and_the_first_expiry_waits",),
    ),
    Mutation(
        "opened again with a part of the money still taken", "ordermq/shop/reopen.py",
        "payment.state is PaymentState.REFUNDED and order.refunded_minor < order.total_minor",
        "False",
        (f"{CAPTURES}::test_an_order_of_which_only_a_part_went_back_is_not_opened_again",),
    ),
    Mutation(
        "opened again, and never given its points", "ordermq/shop/reopen.py",
        "(_FORGET_UNITS, _FORGET_POINTS)",
        "(_FORGET_UNITS,)",
        (f"{CAPTURES}::"
         "test_a_refunded_order_is_opened_again_paid_again_and_gets_its_points_again",),
    ),
    Mutation(
        "not confirmed in time, and not ended at the service", "ordermq/shop/handlers/capture.py",
        "            result = self._gateway.cancel(request.capture, timeout_s=deadline.left_s)\n",
        '            result = Declined("too late")\n',
        ("tests/functional/test_orders_card_action.py::"
         "test_a_payment_that_is_not_confirmed_in_time_is_ended_at_the_service_and_declined",),
    ),
    # --- orders that a shop exported ---
    Mutation(
        "an exported order that is paid already charged again", "ordermq/shop/intake/settling.py",
        "    if is_paid and total_minor:\n",
        "    if is_paid and not total_minor:\n",
        (f"{SHOPIFY}::test_a_paid_order_is_skipped_unless_it_is_asked_for",),
    ),
    Mutation(
        "a paid order of an export placed by default", "ordermq/shop/intake/shopify_order.py",
        "    return _PAID if status == _PAID and options.paid is PaidOrders.SKIP else None\n",
        "    return None\n",
        (f"{SHOPIFY}::test_a_paid_order_is_skipped_unless_it_is_asked_for",),
    ),
    Mutation(
        "a cancelled order of an export that is paid placed", "ordermq/shop/intake/shopify_order.py",
        '    if first.get("cancelled at"):\n',
        '    if status != _PAID and first.get("cancelled at"):\n',
        (f"{SHOPIFY}::test_an_order_that_is_not_to_be_placed_is_skipped_with_its_word",),
    ),
    Mutation(
        "a discount subtracted from the lines and from the order", "ordermq/shop/intake/shopify_order.py",
        "        items, charges = list(discounted), replace(charges, discount=0)\n",
        "        items = list(discounted)\n",
        (f"{SHOPIFY}::test_a_discount_that_stands_in_the_lines_too_is_subtracted_once_and_there",),
    ),
    Mutation(
        "one exported order placed under two order_ids", "ordermq/shop/cli/placing.py",
        "        refused += self._place([each for each in others if each.shared_id not in self._bereft])\n",
        "        refused += self._place(others)\n",
        ("tests/unit/test_cli_exports.py::"
         "test_no_order_is_placed_under_two_ids_whatever_files_come_in_which_order",),
    ),
    # --- what an operator sends again or puts back ---
    Mutation(
        "a replay that does again what was done", "ordermq/shop/replay.py",
        "is_awaited=step in pending and last[step] == version",
        "is_awaited=True",
        (f"{REPLAY}::test_what_is_planned_changes_nothing_and_what_is_sent_says_that_it_was_replayed",),
    ),
    Mutation(
        "a replay beside a message that waits", "ordermq/shop/replay.py",
        "    if location.available_at is not None:\n",
        "    if location.available_at is not None and anew:\n",
        (f"{REPLAY}::test_what_waits_in_the_outbox_is_on_its_way_however_late",),
    ),
    Mutation(
        "a replay that tells customers unasked", "ordermq/shop/replay.py",
        "step in NOTIFY and not wish.allow_notify",
        "step in NOTIFY and wish.anew",
        (f"{REPLAY}::test_no_customer_is_told_unless_that_is_allowed",),
    ),
    Mutation(
        "an order put back while its money goes back", "ordermq/shop/rewind.py",
        "    if is_refunding:\n",
        "    if is_refunding and payment is None:\n",
        ("tests/functional/test_orders_rewind.py::"
         "test_money_that_was_taken_after_all_is_found_and_not_taken_twice",),
    ),
    Mutation(
        "an order put back without its stock", "ordermq/shop/rewind.py",
        "            why = refused[order_id] or short.get(order_id)\n",
        "            why = refused[order_id]\n",
        ("tests/functional/test_orders_rewind.py::"
         "test_stock_that_was_released_is_reserved_again_for_all_or_the_order_stays",),
    ),
    Mutation(
        "an order that is resolved although a step of it is left", "ordermq/shop/resolve.py",
        " if each.attention_reason is not None and each.refused is None]",
        " if each.attention_reason is not None]",
        ("tests/functional/test_orders_attention.py::"
         "test_of_many_orders_those_with_a_step_that_must_be_done_are_refused_and_the_others_resolved",),
    ),
    Mutation(
        "a dead letter that stays open when its order goes on", "ordermq/shop/rewind.py",
        "        discarded = [number for each in going for number in letters[each]]\n",
        "        discarded = [number for each in wanted[:0] for number in letters[each]]\n",
        ("tests/functional/test_orders_rewind.py::"
         "test_an_order_goes_on_from_its_payment_and_what_undid_it_is_withdrawn",),
    ),
    Mutation(
        "a message of a held order that is handled", "ordermq/store/holds.py",
        "FROM ordermq.holds WHERE released_at IS NULL AND correlation_id",
        "FROM ordermq.holds WHERE released_at IS NOT NULL AND correlation_id",
        ("tests/functional/test_hold.py::"
         "test_a_message_of_what_is_held_waits_uncounted_and_the_others_do_not",),
    ),
    # --- what an operator looks at ---
    Mutation(
        "an order that waits for its customer is stuck", "ordermq/shop/queries.py",
        "(SELECT p.state = 'requires_action'\n",
        "(SELECT p.state = 'next'\n",
        (f"{QUERIES}::test_orders_that_wait_by_design_are_not_stuck_until_their_time_is_over",),
    ),
    Mutation(
        "an order that is found by one of its attributes", "ordermq/shop/queries.py",
        'json.dumps(dict(attributes))',
        "json.dumps({})",
        (f"{QUERIES}::test_orders_are_found_by_all_of_their_attributes_placed_one_by_one_or_many",),
    ),
    Mutation(
        "a text that is not found in quotes", "ordermq/store/dead_letters.py",
        "     WHERE position('?' IN pattern) > 0\n",
        "     WHERE false\n",
        (f"{CAUSES}::test_a_text_is_found_in_reasons_also_in_the_parts_by_which_they_differ",),
    ),
    Mutation(
        "consumers that wait for each other's count", "ordermq/store/migrations/0015_death_causes.sql",
        " FOR UPDATE SKIP LOCKED;",
        " FOR UPDATE;",
        (f"{CAUSES}::test_consumers_that_write_letters_of_one_cause_at_once_do_not_wait_for_each_other",),
    ),
    Mutation(
        "a trace that takes a message for lost", "ordermq/cli/trace/waiting.py",
        "    if not queue.ready and not queue.unacked:\n",
        "    if not queue.ready:\n",
        ("tests/unit/test_trace_words.py::test_a_message_waits_for_what_comes_next_where_it_is",),
    ),
    Mutation(
        "a trace that does not see that no relay runs", "ordermq/cli/trace/waiting.py",
        'each.state == "active" and not each.is_lost for each',
        'each.state == "active" for each',
        ("tests/unit/test_trace_words.py::test_a_message_waits_for_what_comes_next_where_it_is",),
    ),
    # --- signed messages ---
    Mutation(
        "any signature of a known key is taken", "ordermq/message/signing.py",
        "return None if is_right else SignatureFault.WRONG",
        "return None",
        (f"{SIGNING}::test_whatever_decides_what_is_done_cannot_be_changed",),
    ),
    Mutation(
        "unsigned messages pass", "ordermq/message/signing.py",
        "if not (fault is SignatureFault.UNSIGNED and self.accepts_unsigned):",
        "if fault is not SignatureFault.UNSIGNED:",
        (f"{SIGNING}::test_each_cause_of_a_refusal_is_counted_by_its_name",),
    ),
    Mutation(
        "a key is accepted for ever", "ordermq/message/signing.py",
        "key.until is not None and utc_now() > key.until",
        "key.until is None and utc_now() > key.until",
        (f"{SIGNING}::test_each_cause_of_a_refusal_is_counted_by_its_name",),
    ),
    Mutation(
        "a listened message can be sent again as a later one", "ordermq/message/signing.py",
        "{len(hop)}:{hop}", "",
        (f"{SIGNING}::test_whatever_decides_what_is_done_cannot_be_changed",),
    ),
    Mutation(
        "a module is asked about a forged message", "ordermq/consumer/received.py",
        "is_suspect=False), fault, asks_modules=False) if fault",
        "is_suspect=False), fault) if fault",
        (f"{SIGNING}::test_a_refused_message_is_never_decoded_and_no_module_is_asked",),
    ),
    Mutation(
        "a replay signs what anybody sent", "ordermq/store/dead_letters.py",
        "if letter.is_unverified and not trusts_unsigned:",
        "if letter.is_unverified and trusts_unsigned:",
        ("tests/functional/test_signed_messages.py::"
         "test_what_another_client_rejects_is_believed_only_with_a_signature",),
    ),
    Mutation(
        "the dead-letter consumer believes any message", "ordermq/consumer/deadletter.py",
        "context.registry, context.verifier)",
        "context.registry)",
        ("tests/functional/test_signed_messages.py::"
         "test_what_another_client_rejects_is_believed_only_with_a_signature",),
    ),
    Mutation(
        "a file of keys that cannot be used takes the keys away", "ordermq/config/signing_keys.py",
        "            self._ring = self._read()\n        except ConfigError as exc:",
        "            self._ring = self._read()\n        except KeyError as exc:",
        (f"{SIGNING}::test_a_file_that_cannot_be_used_leaves_the_keys_in_force_and_is_said_once",),
    ),
    Mutation(
        "an unknown key is not looked for", "ordermq/message/signing.py",
        "ring.by_id.get(key_id) or self.keys.latest().by_id.get(key_id)",
        "ring.by_id.get(key_id)",
        (f"{SIGNING}::test_keys_are_rotated_by_changing_the_file",),
    ),
    # --- the history and its archives ---
    Mutation(
        "an archive of orders that have changed", "ordermq/shop/archives/creating.py",
        "if changed := changed_since(versions, tx):",
        "if changed := changed_since({}, tx):",
        (f"{ARCHIVES}::test_an_order_that_changes_while_the_file_is_written_stops_the_run",),
    ),
    Mutation(
        "a run that deletes the file that another has registered", "ordermq/shop/archives/creating.py",
        "        written, refused = _write(session, month, unfinished, step)\n        if written is None:\n"
        "            return ArchivedMonth(month.name, refused=refused)\n",
        "        written, refused = _write(session, month, unfinished, step)\n        if written is None:\n"
        "            return ArchivedMonth(month.name, refused=refused)\n        unfinished = written.path\n",
        (f"{ARCHIVES}::test_of_two_runs_at_once_one_archives_and_its_file_stays",),
    ),
    Mutation(
        "a file that is changed while it is restored", "ordermq/shop/archives/restoring.py",
        "if reader.totals.leaves.hex() != archive.leaves:",
        "if False:",
        (f"{ARCHIVES}::test_a_file_that_is_changed_while_it_is_restored_is_refused",),
    ),
    Mutation(
        "tiles that a loss of power takes back", "ordermq/audit/growing.py",
        "        self._folder.sync()\n        return Checkpoint(",
        "        return Checkpoint(",
        ("tests/unit/test_audit_files.py"
         "::test_the_tiles_of_a_checkpoint_are_on_the_disk_before_it_is_signed",),
    ),
    Mutation(
        "a cosignature that takes back what was published meanwhile", "ordermq/cli/audit/command.py",
        "if present.checkpoint != signed.checkpoint:",
        "present = signed\n        if False:",
        ("tests/unit/test_audit_files.py::test_what_others_write_while_a_witness_answers_stays",),
    ),
    Mutation(
        "a client that waits less long than the server was told", "ordermq/store/session.py",
        "(statement_timeout_s or self._settings.statement_timeout_s) + _GRACE_S",
        "self._settings.statement_timeout_s + _GRACE_S",
        ("tests/functional/test_store_session.py"
         "::test_a_transaction_may_ask_for_longer_statements_than_others_on_both_sides",),
    ),
    Mutation(
        "a second leaf of a restored event", "ordermq/shop/archives/restoring.py",
        "tx.execute(_HAVE_POSITIONS, (RECORDS.name,))",
        "tx.execute(_HAVE_POSITIONS, ('none',))",
        (f"{ARCHIVES}::test_a_month_is_archived_verified_and_restored_as_it_was",),
    ),
    Mutation(
        "events that are gone in no archive", "ordermq/audit/comparing.py",
        "yield from rows.in_archives.differences()",
        "yield from ()",
        (f"{ARCHIVES}::test_events_marked_as_archived_that_no_archive_has_are_found",),
    ),
    Mutation(
        "an order that has changed since it was looked at", "ordermq/shop/expected.py",
        "if expected.get(order_id, version) != version",
        "if False",
        ("tests/functional/test_expected_versions.py",),
    ),
    Mutation(
        "an event of a newer version that is read", "ordermq/message/event_types.py",
        "FIRST <= version <= FIRST + len(lifts)",
        "FIRST <= version",
        ("tests/unit/test_event_types.py",),
    ),
    Mutation(
        "a fold that forgets what went back before", "ordermq/shop/fold.py",
        '"refunded_minor": order.refunded_minor + data["amount_minor"]',
        '"refunded_minor": data["amount_minor"]',
        ("tests/unit/test_orders_fold.py",),
    ),
    Mutation(
        "a row that is repaired without its lock", "ordermq/shop/rebuild.py",
        "    tx.write(_LOCK, (list(order_ids),))\n",
        "",
        (f"{INSTANT}::test_a_repair_waits_for_a_handler_and_takes_the_events_that_it_has_written",),
    ),
    Mutation(
        "an instant that counts what came after it", "ordermq/shop/instant.py",
        "AND occurred_at <= %(at)s",
        "AND occurred_at IS NOT NULL",
        (f"{INSTANT}::test_an_order_is_what_it_was_at_each_instant_by_its_events_alone",),
    ),
    # --- who may do what, and until when ---
    Mutation(
        "who only looks reads bodies of dead letters", "ordermq/store/role_needs.py",
        '"SELECT ON ordermq.dead_letter_sizes",',
        '"SELECT (body) ON ordermq.dead_letters",',
        ("tests/unit/test_grants.py::test_bodies_are_read_only_by_who_sends_or_keeps_messages",),
    ),
    Mutation(
        "a revocation list that runs out is no warning", "ordermq/cli/doctor/certificates.py",
        "first_or_last = max if is_ca else min",
        "first_or_last = max",
        ("tests/unit/test_validity.py::"
         "test_of_each_authority_the_newest_list_counts_and_of_those_the_one_that_ends_first",),
    ),
    Mutation(
        "a release lets go what was held since its forecast", "ordermq/shop/cli/holding.py",
        "return replace(selection, held_until=then)",
        "return selection",
        ("tests/functional/test_orders_hold.py::test_what_is_held_while_the_forecast_is_read_is_not_released",),
    ),
    # --- events for others ---
    Mutation(
        "an event that was refused is passed over", "ordermq/events/publishing.py",
        "                end = events[confirmed].position\n",
        "",
        ("tests/functional/test_events.py::"
         "test_an_event_that_is_refused_holds_up_those_after_it_and_is_never_skipped",),
    ),
    Mutation(
        "a reader that takes an event ahead of its turn", "ordermq/events/reader.py",
        "event.previous is not None and event.previous > last",
        "event.previous is not None and event.previous > last + 1000",
        ("tests/unit/test_event_reading.py",),
    ),
    Mutation(
        "a reader given an event twice", "ordermq/events/reader.py",
        "        if last is not None and event.position <= last:\n            return False\n",
        "",
        ("tests/unit/test_event_reading.py",),
    ),
    Mutation(
        "events of an order in any partition of Kafka", "ordermq/kafka/records.py",
        "    return KafkaRecord(event.subject.encode(), event.data, headers)",
        "    return KafkaRecord(event.id.encode(), event.data, headers)",
        ("tests/unit/test_kafka_records.py",),
    ),
    # --- the audit log and the positions that are its leaves ---
    Mutation(
        "a record that commits late gets no position", "ordermq/store/migrations/0018_lookups.sql",
        "IF next_xid < pg_snapshot_xmin(",
        "IF next_xid < pg_snapshot_xmax(",
        (f"{POSITIONS}::test_in_whatever_order_transactions_commit_each_record_gets_one_position",
         f"{POSITIONS}::test_a_record_that_was_written_first_and_commits_last_is_not_skipped"),
    ),
    Mutation(
        "a relay without a broker takes the lock from the active one", "ordermq/store/numbering.py",
        "if waits_s(tx, self.low) < LEFT_AFTER_S:",
        "if False:",
        (f"{POSITIONS}::"
         "test_a_relay_without_a_broker_numbers_what_no_other_relay_has_numbered_for_a_while",),
    ),
    Mutation(
        "a lost folder filled with a history that was not signed", "ordermq/audit/publishing.py",
        "if written.root != signed.root:",
        "if written.size != signed.size:",
        (f"{TAMPERING}::test_pbl1_nothing_is_signed_that_does_not_continue_what_was_signed",),
    ),
    Mutation(
        "a record that is gone left out of the log", "ordermq/audit/publishing.py",
        "            check_whole(found, begin, until)\n",
        "            found = [each for each in found if each.content is not None]\n",
        (f"{TAMPERING}::test_a_record_that_is_gone_before_it_was_published_stops_the_log",),
    ),
    Mutation(
        "a checkpoint that the folder has before the database", "ordermq/audit/publishing.py",
        "            note = self.key.sign(checkpoint).encode()\n",
        "            note = self.key.sign(checkpoint).encode()\n            folder.put_checkpoint(note)\n",
        (f"{TAMPERING}::test_pbl2_a_crash_while_publishing_is_made_good_by_the_next_run",),
    ),
    Mutation(
        "two that publish into one folder", "ordermq/audit/publishing.py",
        "fcntl.LOCK_EX | (0",
        "fcntl.LOCK_SH | (0",
        (f"{TAMPERING}::test_two_publishers_do_not_write_into_one_folder",),
    ),
    Mutation(
        "a log that is continued from tiles that were replaced", "ordermq/audit/growing.py",
        "if self._edge.root() != checkpoint.root:",
        "if self._edge.size != checkpoint.size:",
        ("tests/unit/test_audit_files.py::test_a_folder_that_holds_another_history_is_not_continued",),
    ),
    Mutation(
        "rows that are as long as what the log has", "ordermq/audit/comparing.py",
        "if entries and self._bundles.get(first) != bundle(entries):",
        "if entries and len(self._bundles.get(first, b'')) != len(bundle(entries)):",
        (f"{TAMPERING}::test_a_row_that_a_superuser_changed_with_the_triggers_off_is_named",),
    ),
    Mutation(
        "an event under another trace than its order", "ordermq/shop/journal.py",
        "return None if own == order else own",
        "return None",
        ("tests/functional/test_event_actors.py"
         "::test_an_event_goes_outward_with_its_trace_wherever_that_is_stored",),
    ),
    Mutation(
        "an entry that is not hashed", "ordermq/audit/checking.py",
        "    if leaves == hashes:\n",
        "    if len(leaves) == len(hashes):\n",
        ("tests/unit/test_audit_files.py::test_a_file_that_was_changed_is_found_and_named",),
    ),
    Mutation(
        "a proof of another tree", "ordermq/audit/checking.py",
        "if not is_included(leaf_hash(entry), index, checkpoint.size, hashes, checkpoint.root):",
        "if index >= checkpoint.size:",
        ("tests/unit/test_audit_files.py::test_a_proof_whose_entry_was_changed_is_refused",),
    ),
    # --- what is seen ---
    Mutation(
        "an address in a log line", "ordermq/observe/text.py",
        'text = _EMAIL.sub("<e-mail>", text)',
        "text = text.strip()",
        ("tests/unit/test_observe_logs.py::"
         "test_no_address_phone_or_card_number_of_an_error_reaches_the_log",),
    ),
    Mutation(
        "sampled lines that forget what had none", "ordermq/observe/sampling.py",
        "self._unsaid = count - lines if lines else unsaid + count",
        "self._unsaid = count - lines",
        ("tests/unit/test_observe_sampling.py",),
    ),
    Mutation(
        "a span of a batch that hides a sampled trace", "ordermq/observe/otel.py",
        "TraceFlags(any(known) if known",
        "TraceFlags(all(known) if known",
        ("tests/unit/test_observe_tracing.py::"
         "test_spans_have_the_ids_of_their_messages_and_hold_nothing_personal",),
    ),
    Mutation(
        "events to Kafka that were not acknowledged and are passed", "ordermq/kafka/judging.py",
        "next_position = until if first is None else sent[first].position",
        "next_position = until",
        ("tests/unit/test_kafka_records.py::"
         "test_the_progress_moves_up_to_the_first_that_was_not_acknowledged",),
    ),
    Mutation(
        "a batch given up for one record that Kafka refuses", "ordermq/kafka/judging.py",
        "if first is not None and len(sent) == 1 and",
        "if first is not None and",
        ("tests/unit/test_kafka_records.py::"
         "test_what_a_broker_refuses_is_given_up_only_when_it_was_alone",),
    ),
    Mutation(
        "a standby that forwards between two turns of the active process", "ordermq/store/feeds.py",
        "(holder = %(holder)s OR held_until <= clock_timestamp())",
        "true",
        ("tests/functional/test_kafka.py::"
         "test_of_two_processes_one_is_active_until_it_ends_or_its_lease_is_over",),
    ),
)  # fmt: skip
