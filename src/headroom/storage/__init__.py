"""Files by opaque keys: a folder by default, or a bucket of S3, GCS or Azure by its URL.

In: bytes, in pieces, up to a limit. Out: the same bytes, whole or a range of them. A file is there
completely or not at all.
"""
