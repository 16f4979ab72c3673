"""``ordermq asyncapi``: queues, messages and events as a document for foreign programs."""
