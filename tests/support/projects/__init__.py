"""Projects of their own, as a user of ordermq writes them."""
