"""The commands: they parse arguments, build what they need, call it, and return an exit code."""

COMMANDS = {
    "actions": "List the changes that people made with commands.",
    "asyncapi": "Describe all queues and messages as an AsyncAPI document.",
    "audit": "Prove to others that the history of orders and actions is what it was.",
    "completion": "Print a shell's completion script.",
    "config": "Show the settings in force, their origins, and what can be set.",
    "db": "Create or update the tables of the database; delete old rows.",
    "dead": "Look at dead letters; replay, redirect, edit or discard them.",
    "devstack": "Start and stop a private RabbitMQ and PostgreSQL for development.",
    "doctor": "Check broker, database and this machine, and say what to do.",
    "events": "Read the events of orders as other systems do, or forward them to one.",
    "healthcheck": "Ask the process of this machine or container whether it is well.",
    "limits": "Limit the calls to a service outside, while everything runs.",
    "new": "Write a project with one handler, its table and its test.",
    "pause": "Have all consumers of a queue begin nothing more.",
    "reconcile": "Check that nothing was lost, doubled or forgotten.",
    "resume": "Have the consumers of a paused queue go on.",
    "status": "Show how queues, processes and messages are, on one screen.",
    "tail": "Print what consumers settle, as they do.",
    "topology": "Create or check exchanges, queues and bindings.",
    "trace": "Tell what happened to one order or correlation id, and what it waits for.",
}

_OF_SEVERAL_FILES = ("asyncapi", "audit", "dead", "doctor", "events", "status", "trace")

#: Commands that are no module of this package, and the module that holds each.
ELSEWHERE = {
    **{name: f"ordermq.cli.{name}.command" for name in _OF_SEVERAL_FILES},
    "devstack": "ordermq.testing.stack.devstack",
}

PUBLISH_COMMANDS = {"messages": "Publish raw messages to the exchange."}
