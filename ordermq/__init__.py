"""Order processing on RabbitMQ and PostgreSQL that never loses or doubles an order."""

__version__ = "0.1.0"
