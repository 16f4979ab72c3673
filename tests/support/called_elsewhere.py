"""Names that nothing in the package calls although they are in use: the reviewed list of test_house.py."""

HTTP_SERVER = "http.server and socketserver call or read it"
CLICK = "click calls it by its name"
PYTEST = "pytest calls it, or gives it to a test by its name"
COMMAND = "a command of click, which registers it"
PYTHON = "Python calls it when a name of the package is asked for"
BY_NAME = "named by a Module, and imported by that name"
DRIVER = "the driver or the standard library reads it"
COLUMN = "a column of a row, filled by its position"
TESTS = "for tests of ordermq and of its users: docs/testing.md"
FORWARDERS = "what publishes events outward calls it"
API = "part of the public interface that the package itself does not need"

# Path under ordermq/, reason, names.
ENTRIES = (
    ("cli/audit/command.py", COMMAND, "keygen consistency witness"),
    ("amqp/_pika.py", DRIVER, "bytes_received"),
    ("amqp/publisher.py", API, "all_confirmed"),
    ("__init__.py", PYTHON, "__getattr__ __dir__"),
    ("cli/__init__.py", BY_NAME, "COMMANDS PUBLISH_COMMANDS"),
    ("cli/groups.py", CLICK, "list_commands get_command format_commands"),
    ("cli/dead/command.py", COMMAND, "list_"),
    ("cli/limits.py", COMMAND, "set_"),
    ("cli/reconcile.py", COMMAND, "acknowledge"),
    ("config/__init__.py", PYTHON, "__getattr__"),
    (
        "observe/http.py",
        HTTP_SERVER,
        "daemon_threads request_queue_size block_on_close address_family handle_error"
        " server_version sys_version do_GET do_HEAD do_OPTIONS do_POST do_PUT do_PATCH do_DELETE log_message",
    ),
    ("observe/logs.py", "python-json-logger calls it", "add_fields message_dict jsonify_log_record ei"),
    ("shop/__init__.py", PYTHON, "__getattr__"),
    ("shop/cli/__init__.py", BY_NAME, "COMMANDS PUBLISH_COMMANDS"),
    ("shop/archives/restoring.py", "archive list --json prints it", "archived_by"),
    ("shop/cli/archive.py", COMMAND, "list_ restore_"),
    ("shop/cli/order.py", COMMAND, "list_"),
    ("shop/cli/projection.py", COMMAND, "rebuild"),
    ("shop/cli/stock.py", COMMAND, "from_orders correct"),
    ("shop/demo/orders.py", DRIVER, "readable"),
    ("shop/handlers/points.py", BY_NAME, "choose"),
    ("shop/gateways/stripe/gateway.py", "named by the setting shop.payment_gateway", "StripeGateway"),
    ("shop/gateways/stripe/wsgi.py", PYTHON, "__getattr__"),
    (
        "shop/testing/http_faults.py",
        HTTP_SERVER,
        "daemon_threads handle_error protocol_version disable_nagle_algorithm do_GET do_POST do_PUT do_PATCH"
        " do_DELETE log_message",
    ),
    ("shop/gateways/http.py", DRIVER, "response_class"),
    ("shop/intake/mapping.py", "a value of --paid", "PLACE"),
    ("shop/grants.py", BY_NAME, "GRANTS"),
    ("shop/placement.py", "a field of the SQL type shop.placement", "e_type e_occurred_at paid_reference"),
    ("shop/gateways/bounded.py", DRIVER, "readable"),
    ("shop/gateways/smtp.py", BY_NAME, "SmtpGateway"),
    ("shop/sandbox/mail.py", "aiosmtpd calls it", "handle_RCPT handle_DATA"),
    ("shop/testing/smtp_faults.py", "aiosmtpd calls it", "handle_RCPT handle_DATA"),
    ("shop/testing/replaying.py", TESTS, "is_as_recorded"),
    ("shop/trace.py", BY_NAME, "of_order"),
    ("shop/unreadable.py", BY_NAME, "ask_for_person"),
    (
        "testing/stack/monitoring.py",
        TESTS,
        "alerts query_range",
    ),
    ("shop/saga.py", "the saga's tests ask it", "is_at_rest"),
    (
        "shop/sandbox/server.py",
        HTTP_SERVER,
        "daemon_threads request_queue_size server_name server_port handle_error"
        " protocol_version disable_nagle_algorithm do_GET do_POST log_message",
    ),
    ("store/actions.py", COLUMN, "action_id"),
    ("store/dead_letters.py", "an option of a command, given by its name", "newer_than_s"),
    ("task/delivery.py", API, "is_replayed"),
    ("task/plain.py", "for type checkers alone", "__call__ f"),
    ("testing/plugin.py", PYTEST, "pytest_addoption pytest_report_header broker_settings"),
    (
        "testing/proxy.py",
        TESTS,
        "cut_after bandwidth blackhole half_close corrupt bytes_to_server bytes_to_client",
    ),
    ("testing/stack/administration.py", TESTS, "add_user delete_user"),
    ("testing/stack/broker.py", TESTS, "alarm clear_alarms"),
    ("testing/stack/cluster.py", TESTS, "PrivateCluster leader is_replicated node_of"),
    ("testing/stack/devstack.py", COMMAND, "up down"),
    ("testing/stack/devstack.py", CLICK, "obj"),
    ("testing/stack/networks.py", TESTS, "silence unplug plug"),
)

CALLED_ELSEWHERE = {(f"ordermq/{path}", name) for path, _, names in ENTRIES for name in names.split()}
