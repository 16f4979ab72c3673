"""``ordermq trace``: what happened to one correlation id, and what it waits for."""
