"""Where the weights are: which models exist, which are whole here, how they come, how they load.

    header.py      what a safetensors file holds, read from its first bytes
    catalog.py     the released models as data; what is installed, and what of it is torn
    fetch.py       downloading, resumed and checked, through sources.py, transfer.py and client.py
    verify.py      a folder held against its manifest and the headers of its files
    checkpoint.py  a folder's tensors by name, mapped
    match.py       what a network needs, held against what the headers say
    load.py        the tensors put into modules that were built on `meta`
    silence.py     the latent of silence every DiT folder carries

Importing this package imports no torch: only the last four need it.
"""
