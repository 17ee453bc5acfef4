"""The page: songs in a browser. It is a client of the service, over HTTP and nothing else.

It holds no default, no limit and no right of its own: forms come from the declarations of requests,
and whatever it asks for goes through the service's routes as the browser would send it. No torch.
"""
