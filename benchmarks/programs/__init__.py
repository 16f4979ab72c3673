"""One process of a sample each: a job on standard input, one line of JSON on standard output."""
