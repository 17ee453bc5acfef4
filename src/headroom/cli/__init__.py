"""The command line: `headroom`, `acestep` and `python -m headroom` are the same program.

`main` finds the command, and each command imports only what it needs. Progress goes to standard
error, results to files, and output for other programs to standard output.
"""
