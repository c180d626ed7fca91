"""What the headers of one request say of who asks, with what, and where from: pure, shared by recording and imports.

Headers come as a mapping with the names of WSGI (`HTTP_USER_AGENT`, `REMOTE_ADDR`, ..), as `request.META` has them.
"""
