"""The shop's commands: orders, stock, order files and archives."""

COMMANDS = {
    "archive": "Move the events of orders that are over into files; verify and restore them.",
    "order": "Look at orders, now and at any instant; cancel, pay, refund, reopen and resolve them.",
    "projection": "Compare the tables of orders with their history, and repair them.",
    "stock": "Load and show stock.",
}

PUBLISH_COMMANDS = {
    "generate": "Write made-up orders to standard output.",
    "orders": "Place every order of a file.",
    "replay": "Send again the messages that orders wait for.",
}
