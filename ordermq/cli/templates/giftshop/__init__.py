"""giftshop: handlers of messages on ordermq."""
