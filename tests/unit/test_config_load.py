"""The sources, their order, and what an operator reads when one of them is wrong."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ordermq import config
from ordermq.config import Secret, load, setting
from ordermq.config.declaration import MODULES
from ordermq.config.schema import FRAMEWORK, declared
from ordermq.errors import ConfigError


@dataclass(frozen=True)
class ShopSettings:
    payment_url: str = setting("http://127.0.0.1:8080", "where the gateway listens")
    payment_key: Secret = setting(Secret, "its API key")
    retries: int = setting(2, "tries of one call", ge=0, le=9)


@pytest.fixture
def file(tmp_path):
    """Write ordermq.toml and return its path; readable by its owner alone."""

    def write(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "ordermq.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def problems(*args, **kwargs) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*args, **{"environ": {}, **kwargs})
    return str(caught.value).splitlines()


def test_each_name_of_the_package_is_found_and_no_other():
    assert {name for name in config.__all__ if callable(getattr(config, name))} == set(config.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = config.nothing


def test_the_setting_that_is_read_before_the_others_is_one_of_them():
    assert declared(FRAMEWORK)["modules"] == MODULES


def test_without_any_source_every_value_is_its_default():
    loaded = load(environ={"ORDERMQ_CONFIG": ""})

    assert loaded.settings.broker.heartbeat_s == 10
    assert set(loaded.origins.values()) == {"default"}


def test_flags_win_over_environment_over_credentials_over_file_over_defaults(file, tmp_path):
    path = file(
        "[consumer]\nthreads = 2\nbatch = 2\nlease_s = 50\n"
        '[broker]\npassword = "f"\n[database]\npassword = "f"\n'
    )
    (tmp_path / "broker_password").write_text("credential")
    (tmp_path / "database_password").write_text("credential")
    environ = {
        "ORDERMQ_CONSUMER_THREADS": "3",
        "ORDERMQ_CONSUMER_BATCH": "3",
        "ORDERMQ_DATABASE_PASSWORD": "environment",
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }

    loaded = load(path, environ=environ, flags={"consumer.threads": 4, "consumer.batch": None})

    assert loaded.settings.consumer.threads == 4
    assert loaded.settings.consumer.batch == 3
    assert loaded.settings.consumer.lease_s == 50.0
    assert loaded.settings.broker.password.reveal() == "credential"
    assert loaded.settings.database.password.reveal() == "environment"
    assert {
        name: loaded.origins[name] for name in ("consumer.threads", "consumer.batch", "consumer.lease_s")
    } == {
        "consumer.threads": "flag",
        "consumer.batch": "ORDERMQ_CONSUMER_BATCH",
        "consumer.lease_s": f"{path}:4",
    }
    assert loaded.origins["broker.password"] == str(tmp_path / "broker_password")


def test_the_file_named_by_the_environment_is_read_unless_a_path_is_given(file, tmp_path):
    named = file("[consumer]\nthreads = 7\n")
    given = tmp_path / "given.toml"
    given.write_text("[consumer]\nthreads = 9\n")

    assert load(environ={"ORDERMQ_CONFIG": str(named)}).settings.consumer.threads == 7
    assert load(given, environ={"ORDERMQ_CONFIG": str(named)}).settings.consumer.threads == 9


@pytest.mark.parametrize("environ", [{}, {"ORDERMQ_CONFIG": "/nowhere/ordermq.toml"}])
def test_a_file_that_was_asked_for_must_exist(environ):
    path = None if environ else "/nowhere/ordermq.toml"

    assert problems(path, environ=environ) == [
        "the configuration file /nowhere/ordermq.toml cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize("content", [b"[broker\n", b"[broker]\nvhost = 1 2\n", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)

    assert f"{path} is not" in problems(path)[0]


def test_every_type_is_read_from_text_and_from_toml(file):
    path = file(
        '[broker]\nhosts = ["a:1", "[::1]:2"]\ntls = true\nheartbeat_s = 20\n'
        'vhost = "x"\nconfirm_timeout_s = 5\n'
    )
    environ = {
        "ORDERMQ_BROKER_HOSTS": "a:1, [::1]:2",
        "ORDERMQ_BROKER_TLS": "true",
        "ORDERMQ_BROKER_HEARTBEAT_S": "20",
        "ORDERMQ_BROKER_VHOST": "x",
        "ORDERMQ_BROKER_CONFIRM_TIMEOUT_S": "5.0",
        "ORDERMQ_TOPOLOGY_QUEUES": "",
        "ORDERMQ_CONFIG": "",
    }

    from_file, from_environment = load(path, environ={}), load(environ=environ)

    assert from_file.settings == from_environment.settings
    assert from_file.settings.broker.hosts == ("a:1", "[::1]:2")
    assert isinstance(from_file.settings.broker.confirm_timeout_s, float)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("heartbeat_s = 0", "broker.heartbeat_s = 0 ({}:2): must be a whole number from 2 to 60 s"),
        ('heartbeat_s = "10"', 'broker.heartbeat_s = "10" ({}:2): must be a whole number from 2 to 60 s'),
        ("heartbeat_s = 10.0", "broker.heartbeat_s = 10 ({}:2): must be a whole number from 2 to 60 s"),
        ("heartbeat_s = true", "broker.heartbeat_s = true ({}:2): must be a whole number from 2 to 60 s"),
        ("tls = 1", "broker.tls = 1 ({}:2): must be true or false"),
        (
            "connect_timeout_s = nan",
            "broker.connect_timeout_s = nan ({}:2): must be a number above 0 and at most 20 s",
        ),
        (
            "connect_timeout_s = inf",
            "broker.connect_timeout_s = inf ({}:2): must be a number above 0 and at most 20 s",
        ),
        ('hosts = "a:1"', 'broker.hosts = "a:1" ({}:2): must be a list of texts'),
        (
            'hosts = ["a:"]',
            "broker.hosts = [\"a:\"] ({}:2): 'a:' is not host or host:port ([v6]:port for IPv6)",
        ),
        ('vhost = "a\\u0000b"', 'broker.vhost = "a\\u0000b" ({}:2): must be text'),
        ("password = 12345", "broker.password = *** ({}:2): must be text (a secret)"),
        ("hearbeat_s = 10", "broker.hearbeat_s ({}:2): there is no such setting; did you mean heartbeat_s?"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line_and_what_is_allowed(file, line, said):
    path = file(f"[broker]\n{line}\n")

    assert problems(path) == [said.format(path)]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ORDERMQ_BROKER_HEARTBEAT_S", ""),
        ("ORDERMQ_BROKER_HEARTBEAT_S", "1_0"),
        ("ORDERMQ_BROKER_HEARTBEAT_S", "٣"),
        ("ORDERMQ_BROKER_TLS", "yes"),
        ("ORDERMQ_BROKER_CONNECT_TIMEOUT_S", "nan"),
        ("ORDERMQ_BROKER_CONNECT_TIMEOUT_S", "1e3"),
        ("ORDERMQ_TOPOLOGY_QUEUES", "a,,b"),
        ("ORDERMQ_OBSERVE_LOG_LEVEL", "info"),
        ("ORDERMQ_TOPOLOGY_PREFIX", "order s"),
    ],
)
def test_text_that_is_not_of_the_settings_type_is_refused_naming_the_variable(variable, text):
    (said,) = problems(environ={variable: text, "ORDERMQ_CONFIG": ""})

    assert f"({variable}): must be " in said


KUBERNETES = {
    "{}_SERVICE_HOST": "10.0.171.239",
    "{}_SERVICE_PORT": "80",
    "{}_SERVICE_PORT_HTTP_METRICS": "80",
    "{}_PORT": "tcp://10.0.171.239:80",
    "{}_PORT_80_TCP": "tcp://10.0.171.239:80",
    "{}_PORT_80_TCP_PROTO": "tcp",
    "{}_PORT_80_TCP_PORT": "80",
    "{}_PORT_80_TCP_ADDR": "10.0.171.239",
    "{}_PORT_53_UDP": "udp://[fd00::7]:53",
    "{}_PORT_53_UDP_ADDR": "fd00::7",
}


@pytest.mark.parametrize("service", ["ORDERMQ", "ORDERMQ_RELAY", "ORDERMQ_CONSUMER_2", "ORDERMQ_DATABASE"])
def test_variables_that_kubernetes_makes_of_a_service_are_ignored(service):
    environ = {name.format(service): value for name, value in KUBERNETES.items()}

    loaded = load(environ={"ORDERMQ_CONFIG": "", **environ})

    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ORDERMQ_BROKER_PORT", "5672"),
        ("ORDERMQ_DATABASE_PROT", "tcp://10.0.0.7:5432"),
        ("ORDERMQ_DATABASE_SERVICE_HOST", "db.example.org"),
        ("ORDERMQ_RELAY_PORT", "http://10.0.0.7:80"),
        ("ORDERMQ_RELAY_PORT_80_TCP_NAME", "relay"),
        ("ORDERMQ_SERVICE_PORTS", "80"),
    ],
)
def test_a_misspelling_that_looks_like_a_variable_of_kubernetes_is_refused(variable, text):
    (said,) = problems(environ={variable: text, "ORDERMQ_CONFIG": ""})

    assert f"{variable} (environment): there is no such variable" in said


def test_a_misspelt_variable_or_section_or_flag_is_refused_with_the_nearest_name(file):
    path = file("[brokr]\nvhost = 'x'\n[observe]\n")

    assert problems(path, environ={"ORDERMQ_BROKER_VHSOT": "x"}, flags={"consumer.thread": 3}) == [
        f"[brokr] ({path}:1): there is no such section; did you mean broker?",
        "ORDERMQ_BROKER_VHSOT (environment): there is no such variable; did you mean ORDERMQ_BROKER_VHOST?",
        "consumer.thread (flag): there is no such setting; did you mean consumer.threads?",
    ]


def test_variables_of_the_scripts_and_of_the_private_stack_are_not_settings():
    environ = {
        "ORDERMQ_CONFIG": "",
        "ORDERMQ_FAILPOINT": "x",
        "ORDERMQ_VENV": "/v",
        "ORDERMQ_STACK_DIR": "/s",
    }

    assert load(environ=environ).settings == load(environ={"ORDERMQ_CONFIG": ""}).settings


def test_all_problems_of_all_sources_are_reported_at_once(file):
    path = file("[broker]\nheartbeat_s = 0\nunreachable_cap_s = 0.1\n[consumer]\nthreads = 'x'\n")

    said = problems(path, environ={"ORDERMQ_CONSUMER_THREADS": "0"}, flags={"relay.batch": -1})

    assert [line.split(" = ")[0] for line in said] == [
        "broker.heartbeat_s",
        "consumer.threads",
        "consumer.threads",
        "relay.batch",
        "broker.unreachable_cap_s",
    ]


def test_a_bad_value_is_reported_even_where_a_later_source_replaces_it(file):
    assert len(problems(file("[consumer]\nthreads = 0\n"), flags={"consumer.threads": 4})) == 1


def test_the_value_of_an_unknown_key_is_never_shown(file):
    path = file("[broker]\npasword = 'hunter2hunter2'\n")

    said = "\n".join(problems(path, environ={"ORDERMQ_BROKER_PASWORD": "hunter3hunter3"}))

    assert "hunter" not in said
    assert "did you mean password" in said


def test_a_password_in_a_file_that_others_can_read_is_refused_with_the_remedy(file):
    path = file('[broker]\npassword = "hunter2hunter2"\n', mode=0o644)

    (said,) = problems(path)

    assert "hunter" not in said
    assert (
        "chmod 640 it, or name a file in ORDERMQ_BROKER_PASSWORD_FILE, or use the credential broker_password"
        in said
    )
    path.chmod(0o640)
    assert load(path, environ={}).settings.broker.password.reveal() == "hunter2hunter2"


def test_a_secret_in_a_file_is_read_again_at_each_reveal(tmp_path):
    path = tmp_path / "password"
    path.write_text("first\n")
    secret = load(
        environ={"ORDERMQ_CONFIG": "", "ORDERMQ_BROKER_PASSWORD_FILE": str(path)}
    ).settings.broker.password

    assert secret.reveal() == "first"
    path.write_text("second")
    assert secret.reveal() == "second"
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        secret.reveal()


def test_a_secret_file_that_is_missing_or_not_text_is_reported_at_the_start(tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"hunter2\xff")
    environ = {
        "ORDERMQ_CONFIG": "",
        "ORDERMQ_BROKER_PASSWORD_FILE": str(tmp_path / "none"),
        "ORDERMQ_DATABASE_PASSWORD_FILE": str(binary),
    }

    missing, unreadable = problems(environ=environ)

    assert missing.startswith("broker.password = *** (ORDERMQ_BROKER_PASSWORD_FILE: ")
    assert "is not UTF-8" in unreadable
    assert "hunter" not in unreadable


def test_a_secret_given_twice_or_on_the_command_line_is_refused(tmp_path):
    path = tmp_path / "password"
    path.write_text("x")
    environ = {
        "ORDERMQ_CONFIG": "",
        "ORDERMQ_BROKER_PASSWORD": "y",
        "ORDERMQ_BROKER_PASSWORD_FILE": str(path),
    }

    twice, flag = problems(environ=environ, flags={"database.password": "hunter2hunter2"})

    assert "ORDERMQ_BROKER_PASSWORD sets it too" in twice
    assert flag.startswith("database.password (flag): every user of the machine can read a command line")
    assert "hunter" not in flag


def test_a_section_of_the_programs_own_is_loaded_like_any_other(file):
    path = file('[shop]\npayment_key = "k"\n')

    loaded = load(path, environ={"ORDERMQ_SHOP_RETRIES": "5"}, extra_sections={"shop": ShopSettings})

    shop = loaded.section("shop")
    assert (shop.retries, shop.payment_key.reveal()) == (5, "k")
    assert loaded.section("broker") is loaded.settings.broker
    assert loaded.origins["shop.retries"] == "ORDERMQ_SHOP_RETRIES"


def test_a_section_nobody_declared_is_refused(file):
    assert "there is no such section" in problems(file("[shop]\nretries = 1\n"))[0]


def test_what_stands_above_the_first_section_is_loaded_like_any_other(file):
    path = file('modules = ["myshop.gifts"]\n[broker]\nvhost = "x"\n')

    from_file = load(path, environ={})
    from_variable = load(path, environ={"ORDERMQ_MODULES": "myshop.cards, myshop.gifts"})
    by_default = load(environ={"ORDERMQ_CONFIG": ""}, defaults={"modules": ("myshop",)})

    assert from_file.settings.modules == ("myshop.gifts",)
    assert from_file.origins["modules"] == f"{path}:1"
    assert from_variable.settings.modules == ("myshop.cards", "myshop.gifts")
    assert from_variable.origins["modules"] == "ORDERMQ_MODULES"
    assert by_default.settings.modules == ("myshop",)
    assert by_default.origins["modules"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('modules = "a"\n', 'modules = "a" ({}:1): must be a list of texts: a dotted module name'),
        (
            '[broker]\nmodules = ["a"]\n',
            "broker.modules ({}:2): modules must stand above the first [section]",
        ),
        ("threads = 4\n", "threads ({}:1): a setting must stand below its [section]"),
        (
            '[consumer]\nhandlers = ["myshop.handlers", "myshop.gifts"]\n',
            "consumer.handlers ({}:2): there is no such setting; handlers come from modules, each of which"
            " holds module = Module(...). Write above the first [section]:"
            ' modules = ["myshop", "myshop.gifts"]',
        ),
    ],
)
def test_a_setting_in_the_wrong_place_is_refused_with_the_line_to_write(file, text, said):
    path = file(text)

    assert problems(path) == [said.format(path)]


def test_the_variable_that_once_named_handlers_is_refused_with_the_one_to_set():
    (said,) = problems(environ={"ORDERMQ_CONSUMER_HANDLERS": "myshop.handlers,b", "ORDERMQ_CONFIG": ""})

    assert said.endswith("Write ORDERMQ_MODULES=myshop,b")
