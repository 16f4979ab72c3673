"""Events of the history as records of a Kafka topic; docs/kafka.md. Needs the extra ``ordermq[kafka]``."""
