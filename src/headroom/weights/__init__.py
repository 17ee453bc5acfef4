"""Where the weights are: which models exist, which are whole here, how they come, how they load.

    header.py    what a safetensors file holds, read from its first bytes
    catalog.py   the released models as data; what is installed, and what of it is torn
    fetch.py     downloading, resumed and checked; verifying what is there
    load.py      a folder's tensors, mapped, into modules built on `meta`
    silence.py   the latent of silence every DiT folder carries

Importing this package imports no torch: only load.py and silence.py need it.
"""
