"""Speed as ratios: ordermq, its peers and the limit side by side, in one run, on one machine.

    case.py       what is measured, by whom, and what must be reached
    ground.py     a virtual host and a database of its own for each sample, programs that run on it
    contest.py    rounds: contenders take turns, so that a busy moment hits all alike
    report.py     medians, the table, build/bench.json
    chart.py      docs/img/bench.svg
    cases/        one module a case
    programs/     what a sample runs: a process of its own, which measures itself

Nothing here is a test of speed: ``make test`` runs each case with a few messages and looks only
at what came of them.
"""
