"""Write docs/configuration.md and config/ordermq.toml anew: ``python -m ordermq.config`` in the checkout."""

from pathlib import Path

from ordermq.config.reference import example, reference

if __name__ == "__main__":
    Path("docs/configuration.md").write_text(reference())
    Path("config/ordermq.toml").write_text(example())
