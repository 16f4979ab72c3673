"""The saga among its messages: late, twice, in any order, given up, replayed (SAG1, SAG2, SAG3, SAG4, CAP1).

The world around one order is a model of what handlers, warehouse and gateway do; the saga
decides everything else. What must hold is what a customer and an accountant would ask.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ordermq.shop.commands import command_of
from ordermq.shop.events import FAILED, NOTIFY, Event, EventType, Step
from ordermq.shop.rewind import why_not_capture
from ordermq.shop.saga import CANCELLED, TERMINAL, Readiness, Status, advance, can_happen, readiness

E, P, S = EventType, Step, Status


class Answer(Enum):
    """What the gateway said of a capture."""

    CAPTURED = auto()
    DECLINED = auto()
    NEVER_SEEN = auto()
    NOTHING = auto()  # a time-out: it may or may not have happened


@dataclass(eq=False)
class Call:
    """A capture under way, and its number. ``answer`` None: the gateway was not reached yet."""

    command: tuple[Step, str]
    is_wanted: bool
    number: int
    answer: Answer | None = None


class World(RuleBasedStateMachine):
    """One order, its messages in no order, and what has really happened."""

    def __init__(self):
        super().__init__()
        self.state, self.version = None, 0
        self.commands = []  # (step, message_id) on their way, some twice
        self.dead_letters = []  # given up, until an operator replays them
        self.calls = []
        self.sent = []  # each command once
        self.notified = Counter()  # notifications of the customer
        self.attention = False
        self.stock = "on hand"
        self.number = 1  # of the present capture: each has a key of its own
        self.gateway = {}  # by number: its first answer is its last
        self.refunds = set()  # numbers; the gateway's key makes more of one number one
        self.intents, self.known = set(), set()  # numbers
        self.has_points = False
        self.reopened = 0
        self.cause = None  # the event that cancelled the order
        self.has_been_rewound = False
        self.happen(E.ORDER_PLACED)

    def happen(self, event_type, step=None):
        before = self.state
        move = advance(self.state, Event(event_type, step))
        self.state, self.version = move.state, self.version + 1
        self.attention |= bool(move.attention)
        if self.state.status is not S.CANCELLED:
            self.cause = None
        elif before.status is not S.CANCELLED:
            self.cause = event_type
        for each in move.sends:
            command = each, command_of(each, "o-1", self.version).message_id
            self.sent.append(command)
            self.commands.append(command)
            self.notified[each] += each in NOTIFY
        if before is not None and before.status in (S.PAID, S.COMPLETED):
            goes_on = self.state.status in (S.PAID, S.COMPLETED)
            assert goes_on or event_type is E.CANCEL_REQUESTED, "after the money was taken, only forward"

    # --- messages ---

    @precondition(lambda self: self.commands)
    @rule(data=st.data())
    def deliver(self, data):
        self.handle(data.draw(st.sampled_from(self.commands)), by_chance(data))

    @rule(data=st.data())
    def come_again(self, data):
        """A broker that restarts, a relay that was killed: any message comes twice, however late."""
        self.commands.append(data.draw(st.sampled_from(self.sent)))

    @precondition(
        lambda self: self.commands and len(self.dead_letters) < 3 and self.version >= self.gives_up_from
    )
    @rule(data=st.data())
    def give_up(self, data):
        command = data.draw(st.sampled_from(self.commands))
        self.commands.remove(command)
        self.dead_letters.append(command)
        step = command[0]
        is_pending = step in self.state.pending
        self.happen(*((FAILED[step], step) if is_pending else (E.ATTENTION_RAISED,)))

    @precondition(lambda self: self.dead_letters)
    @rule(data=st.data())
    def replay(self, data):
        command = data.draw(st.sampled_from(self.dead_letters))
        self.dead_letters.remove(command)
        self.commands.append(command)

    @initialize(cancels_from=st.integers(0, 6), gives_up_from=st.integers(0, 6), has_grace=st.booleans())
    def begin(self, cancels_from, gives_up_from, has_grace):
        self.cancels_from, self.gives_up_from, self.has_grace = cancels_from, gives_up_from, has_grace

    @precondition(
        lambda self: self.version >= self.cancels_from and can_happen(self.state, E.CANCEL_REQUESTED)
    )
    @rule()
    def cancel(self):
        self.happen(E.CANCEL_REQUESTED)

    @precondition(lambda self: self.state.status is S.PAYMENT_DUE and self.number < 4)
    @rule()
    def pay(self):
        """The customer gives another card."""
        assert self.gateway[self.number] is Answer.DECLINED
        self.number += 1
        self.happen(E.CARD_REPLACED)

    @precondition(
        lambda self: (
            self.state.is_at_rest
            and self.state.status in CANCELLED
            and not self.calls
            and not self.dead_letters
            and self.reopened < 2
        )
    )
    @rule()
    def reopen(self):
        """A person opens the order again, with another card if the key of the last one is used up."""
        if self.number in self.known:
            self.number += 1
        self.reopened += 1
        self.happen(E.ORDER_REOPENED)

    @precondition(
        lambda self: (
            may_rewind(self.state, self.cause)
            and self.number not in self.known | self.refunds
            and not self.has_been_rewound
        )
    )
    @rule()
    def rewind(self):
        """Begun again from the payment: what was released is reserved again in the same transaction."""
        self.has_been_rewound = True
        self.stock = "reserved"
        self.happen(E.ORDER_REWOUND)

    @rule()
    def handle_all(self):
        """All that waits is handled, and goes well."""
        for command in list(self.commands):
            self.handle(command, the_first)

    # --- handlers ---

    def handle(self, command, choose):
        step = command[0]
        match readiness(self.state, step):
            case Readiness.TOO_EARLY:
                return  # postponed: it comes again
            case Readiness.MOVED_ON:
                self.commands.remove(command)
                if step is P.AWARD and can_happen(self.state, E.POINTS_AWARDED):
                    self.happen(E.POINTS_AWARDED, step)
                return
        self.commands.remove(command)
        match step:
            case P.RESERVE:
                self.reserve(choose)
            case P.RELEASE:
                self.stock = "on hand"
                self.happen(E.STOCK_RELEASED, step)
            case P.CAPTURE:
                self.prepare(command)
            case P.REFUND:
                self.refund(command)
            case P.EXPIRE:
                self.happen(E.PAYMENT_EXPIRED, step)
            case P.SHIP:
                self.ship()
            case P.AWARD:
                self.has_points = self.state.status not in CANCELLED
                self.happen(E.POINTS_AWARDED if self.has_points else E.POINTS_SKIPPED, step)
            case P.ADJUST_POINTS:
                self.has_points &= self.state.status not in CANCELLED
                self.happen(E.POINTS_ADJUSTED, step)
            case _:
                ends = [E.NOTIFICATION_SENT, E.NOTIFICATION_SKIPPED, E.NOTIFICATION_UNKNOWN]
                self.happen(choose(ends), step)

    def reserve(self, choose):
        if self.state.status is S.PLACED and choose([False, False, False, True]):
            self.happen(E.STOCK_UNKNOWN, P.RESERVE)
        elif self.state.status is S.PLACED and choose([True, True, True, False]):
            self.stock = "reserved"
            self.happen(E.STOCK_RESERVED, P.RESERVE)
        else:
            self.happen(E.STOCK_REJECTED, P.RESERVE)

    def ship(self):
        if self.state.status in CANCELLED:
            self.happen(E.SHIPMENT_SKIPPED, P.SHIP)
            return
        assert self.stock == "reserved"
        self.stock = "shipped"
        self.happen(E.SHIPMENT_CREATED, P.SHIP)

    def prepare(self, command):
        is_wanted = self.state.status is S.RESERVED
        if not is_wanted and self.number not in self.intents:
            self.happen(E.PAYMENT_SKIPPED, P.CAPTURE)
            return
        self.intents.add(self.number)
        self.calls.append(Call(command, is_wanted, self.number))

    def refund(self, command):
        answer = self.gateway.get(self.number)
        if self.number not in self.intents or answer is Answer.DECLINED:
            self.happen(E.REFUND_SKIPPED, P.REFUND)
        elif answer is Answer.CAPTURED:
            self.refunds.add(self.number)
            self.known.add(self.number)
            self.happen(E.PAYMENT_REFUNDED, P.REFUND)
        elif self.calls:
            self.commands.append(command)  # a capture may still arrive: postponed
        else:
            self.happen(E.REFUND_SKIPPED, P.REFUND)

    # --- the gateway, at its own pace ---

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def reach_the_gateway(self, data):
        self.ask(data.draw(st.sampled_from(self.waiting())), by_chance(data))

    @precondition(lambda self: self.answered())
    @rule(data=st.data())
    def tell(self, data):
        call = data.draw(st.sampled_from(self.answered()))
        self.calls.remove(call)
        self.complete(call)

    def waiting(self):
        return [call for call in self.calls if call.answer is None]

    def answered(self):
        return [call for call in self.calls if call.answer is not None]

    def ask(self, call, choose):
        if call.number not in self.gateway and call.is_wanted:
            answer = choose([Answer.CAPTURED, Answer.CAPTURED, Answer.DECLINED, None])
            self.gateway |= {call.number: answer} if answer else {}
        heard = self.gateway.get(call.number) or (Answer.NOTHING if call.is_wanted else Answer.NEVER_SEEN)
        call.answer = choose([heard, Answer.NOTHING])

    def complete(self, call):
        if call.number != self.number or self.number in self.known:
            return  # reported before, or of an earlier capture
        is_pending = P.CAPTURE in self.state.pending
        match call.answer:
            case Answer.CAPTURED:
                self.known.add(call.number)
                self.happen(E.PAYMENT_CAPTURED, P.CAPTURE)
            case Answer.DECLINED:
                self.known.add(call.number)
                if is_pending:
                    waits = self.has_grace and can_happen(self.state, E.CARD_DECLINED)
                    self.happen(E.CARD_DECLINED if waits else E.PAYMENT_DECLINED, P.CAPTURE)
            case Answer.NEVER_SEEN if is_pending and not self.calls and self.number not in self.gateway:
                self.happen(E.PAYMENT_SKIPPED, P.CAPTURE)
            case Answer.NOTHING | Answer.NEVER_SEEN:
                self.commands.append(call.command)  # tried again

    # --- what must hold ---

    @invariant()
    def every_pending_step_has_somebody_to_end_it(self):
        hands = {
            step for step, _ in self.commands + self.dead_letters + [call.command for call in self.calls]
        }
        assert self.state.pending <= hands

    @invariant()
    def no_message_id_is_given_twice(self):
        assert len({message_id for _, message_id in self.sent}) == len(self.sent)

    @invariant()
    def never_two_captures_are_open(self):
        # CAP1
        taken = {number for number, answer in self.gateway.items() if answer is Answer.CAPTURED}
        assert len(taken - self.refunds) <= 1

    @invariant()
    def goods_leave_only_for_money_that_stays(self):
        if self.stock == "shipped":
            assert self.gateway[self.number] is Answer.CAPTURED
            assert self.number not in self.refunds
            assert self.state.status in (S.PAID, S.COMPLETED)

    @invariant()
    def what_rests_is_whole(self):
        if not self.state.is_at_rest:
            return
        if self.state.status is S.COMPLETED:
            assert self.stock == "shipped"
        else:
            assert self.stock == "on hand"
            assert not self.has_points
            taken = self.gateway.get(self.number) is Answer.CAPTURED
            assert (self.number in self.refunds) is taken
            assert (self.state.status is S.REFUNDED) is taken

    @invariant()
    def a_dead_letter_of_a_step_that_is_needed_asks_a_person(self):
        assert self.attention or not self.dead_letters

    def teardown(self):
        """Operators replay, the gateway answers, handlers succeed: it comes to rest, and is whole."""
        for _ in range(10):
            self.commands += self.dead_letters
            self.dead_letters = []
            self.handle_all()
            for call in list(self.calls):
                if call.answer is None:
                    self.ask(call, the_first)
                self.calls.remove(call)
                self.complete(call)
        assert self.state.is_at_rest, f"for ever {self.state}"
        assert self.state.status in TERMINAL
        assert not self.commands
        self.what_rests_is_whole()
        # What is told after an order was begun again is a step of its own; its handler sends no second text.
        told = self.notified[P.NOTIFY_CONFIRMED], self.notified[P.NOTIFY_CANCELLED]
        assert max(told) <= 1 + self.reopened + self.has_been_rewound, (
            "a customer gets each notification once"
        )


def may_rewind(state, cause):
    return state.status is S.CANCELLED and why_not_capture(state, cause) is None


def by_chance(data):
    return lambda options: data.draw(st.sampled_from(options))


def the_first(options):
    """Choose what goes well."""
    return options[0]


TestMessagesInAnyOrder = World.TestCase
TestMessagesInAnyOrder.settings = settings(max_examples=300, stateful_step_count=40)
