"""The command line: `headroom`, `acestep` and `python -m headroom` are the same program.

`main` finds the command, which imports what it needs and nothing before. Progress goes to standard
error, results to files, and what a program may want to read to standard output.
"""
