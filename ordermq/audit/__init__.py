"""The audit log: every event and action is a leaf of a transparency log, in the formats of C2SP."""
