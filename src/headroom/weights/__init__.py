"""Find, download, verify and load the files of models.

    header.py      reads from a safetensors file's first bytes what the file holds
    catalog.py     what a released model is, and which are installed, with any damage
    fetch.py       downloads, resumes and checks, through sources.py, transfer.py and client.py
    verify.py      checks a folder against its manifest and the headers of its files
    checkpoint.py  maps a folder's tensors by name
    match.py       compares what a network needs with what the headers say
    load.py        puts the tensors into modules that were built on `meta`
    silence.py     loads the latent of silence that every DiT folder carries
    onnx_file.py   reads the weights of ONNX files, by protobuf.py; other_formats.py those of
                   torch's pickles and numpy's arrays, and writes them as safetensors

Importing this package imports no torch: only the last five, without protobuf.py, need it.
"""
