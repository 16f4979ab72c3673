"""``ordermq events``: the stream of events, and the processes that send events to others."""
