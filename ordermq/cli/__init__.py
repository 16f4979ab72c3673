"""The commands: parse, build, call, exit code. What they do is done below them."""
