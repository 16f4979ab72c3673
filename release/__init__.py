"""Makes what a release consists of: ``make dist``. No part of the package."""
