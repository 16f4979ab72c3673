"""The shop's commands: orders, stock and order files."""

COMMANDS = {
    "order": "Look at orders; cancel, pay, refund, reopen and resolve them.",
    "stock": "Load and show stock.",
}

PUBLISH_COMMANDS = {
    "generate": "Write made-up orders to standard output.",
    "orders": "Place every order of a file.",
    "replay": "Send again the messages that orders wait for.",
}
