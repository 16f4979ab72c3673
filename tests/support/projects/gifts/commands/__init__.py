"""The commands of the gifts."""

COMMANDS = {"gifts": "Count gifts."}
