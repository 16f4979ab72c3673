"""``ordermq dead``: messages that were given up, and what people decide about them."""
