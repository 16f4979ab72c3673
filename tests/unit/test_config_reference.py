"""What is written about the settings agrees with the settings."""

import re
from pathlib import Path

import pytest

from ordermq.cli.modules import DEFAULTS
from ordermq.config import Settings, describe, example, load, reference
from ordermq.shop.settings import SECTION, ShopSettings

ROOT = Path(__file__).parents[2]
SHOP = {SECTION: ShopSettings}
HOW = "CONTRIBUTING.md says how to write it anew"


def test_the_manual_page_is_up_to_date():
    assert (ROOT / "docs/configuration.md").read_text() == reference(SHOP, DEFAULTS), HOW


def test_the_example_file_is_up_to_date():
    assert (ROOT / "config/ordermq.toml").read_text() == example(SHOP, DEFAULTS), HOW


@pytest.mark.parametrize("is_commented", [True, False])
def test_the_example_file_loads_and_shows_the_defaults(tmp_path, is_commented):
    text = (ROOT / "config/ordermq.toml").read_text()
    path = tmp_path / "ordermq.toml"
    path.write_text(text if is_commented else re.sub(r"(?m)^#(?=\w)", "", text))

    loaded = load(path, environ={}, extra_sections=SHOP, defaults=DEFAULTS)

    assert (loaded.settings, loaded.section(SECTION)) == (Settings(**DEFAULTS), ShopSettings())
    assert is_commented == (set(loaded.origins.values()) == {"default"})


def test_the_effective_settings_are_described_without_their_secrets():
    environ = {
        "ORDERMQ_CONFIG": "",
        "ORDERMQ_BROKER_PASSWORD": "hunter2hunter2",
        "ORDERMQ_BROKER_HEARTBEAT_S": "20",
    }

    rows = {row.key: row for row in describe(load(environ=environ))}

    assert rows["broker.password"].value == "***"
    assert rows["database.password"].value == ""
    assert (rows["broker.heartbeat_s"].value, rows["broker.heartbeat_s"].unit) == ("20", "s")
    assert rows["broker.heartbeat_s"].origin == "ORDERMQ_BROKER_HEARTBEAT_S"
    assert rows["broker.hosts"].value == '["127.0.0.1:5672"]'
    assert "hunter" not in str(rows)
