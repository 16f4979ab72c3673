"""``ordermq status``: one look at everything, and its screen."""
