"""Send a peer's worker the one message it is started for."""

from importlib import import_module

from benchmarks.programs.job import answer, worker_job


def main() -> None:
    import_module(f"benchmarks.programs.{worker_job()['peer']}_first").send()
    answer(done=1)


if __name__ == "__main__":
    main()
