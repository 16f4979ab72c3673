"""``ordermq audit``: publish the audit log, verify it, prove an order to others."""
