"""Faults of the network between the broker and every process of ours: a proxy stands in between."""

from typing import ClassVar

from ordermq.testing.faults import Direction
from ordermq.testing.proxy import FaultProxy
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault


class _Proxied(Fault):
    def prepare(self, arena: Arena) -> None:
        self.proxy = FaultProxy(arena.broker.port)
        arena.ends.callback(self.proxy.close)
        arena.env["ORDERMQ_BROKER_HOSTS"] = self.proxy.address


class ResetInMidFrame(_Proxied):
    name = "F13"
    title = "connections reset in mid-frame"
    expect = "what is unknown is published again and absorbed"
    may_alert: ClassVar = AFTERMATH | {"OrdermqNoActiveRelay", "OrdermqNotConnected", "OrdermqRedelivery"}
    recovers_within_s = 10.0

    CUTS = 12

    def strike(self, arena: Arena) -> None:
        for cut in range(self.CUTS):
            # The first ones inside the first frames, where a frame's every byte counts.
            n_bytes = cut + 1 if cut < 3 else arena.random.randrange(1, 40_000)
            direction = arena.random.choice((Direction.TO_SERVER, Direction.TO_CLIENT))
            before = self.proxy.counters.cut
            self.proxy.cut_after(n_bytes, direction, over_all=True)
            arena.wait_until(lambda before=before: self.proxy.counters.cut > before, 30.0, "a cut")
            arena.pause_between(0.1, 0.6)
        self.proxy.heal()
        arena.healed()


class SlowLink(_Proxied):
    name = "F14"
    title = "latency 200 ms give or take 100; 10 KB/s"
    expect = "the window keeps the throughput; no heartbeat is missed"
    may_alert: ClassVar = AFTERMATH | {"OrdermqNotConnected", "OrdermqRedelivery"}
    recovers_within_s = 10.0

    LEAST_PER_S = 50

    def strike(self, arena: Arena) -> None:
        self.proxy.latency(100, 50, arena.seed)
        arena.pause(2.0)
        before = arena.finished()
        arena.pause(8.0)
        per_s = (arena.finished() - before) / 8.0
        arena.notes.append(f"{per_s:.0f} orders/s under latency")
        arena.expect(per_s > min(self.LEAST_PER_S, 0.7 * arena.rate), f"latency left {per_s:.0f} orders/s")
        self.proxy.heal()
        self.proxy.bandwidth(10_000)
        arena.pause(12.0)
        self.proxy.heal()
        arena.healed()

    def verify(self, arena: Arena) -> None:
        missed = arena.logged("eartbeat")
        arena.expect(not missed, f"{missed} lines speak of heartbeats")


FAULTS = (ResetInMidFrame(), SlowLink())
